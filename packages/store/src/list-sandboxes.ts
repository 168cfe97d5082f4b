import type { SandboxState } from "@caisson/contract";
import type { Kysely } from "kysely";
import { decodeCursor, encodeCursor } from "./page-cursor.ts";
import { decodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { Tables } from "./tables.ts";

/** Which sandboxes to list. */
export interface SandboxFilter {
  /** `live` for all that have not ended. */
  readonly states: readonly SandboxState[] | "live" | "all";
  readonly metadata: Readonly<Record<string, string>>;
  /** Only those of this worker. */
  readonly workerId?: string;
  readonly limit: number;
  readonly cursor?: string;
}

/** Some of a list. */
export interface SandboxPage {
  readonly items: readonly SandboxRecord[];
  /** Where the next page begins; null when there is none. */
  readonly nextCursor: string | null;
}

/** A page, newest first. */
export async function listSandboxes(db: Kysely<Tables>, filter: SandboxFilter): Promise<SandboxPage> {
  let query = db.selectFrom("sandboxes").selectAll();
  if (filter.states === "live") query = query.where("ended_at", "is", null);
  else if (filter.states !== "all") query = query.where("state", "in", [...filter.states]);
  if (filter.workerId !== undefined) query = query.where("worker_id", "=", filter.workerId);
  for (const [key, value] of Object.entries(filter.metadata)) {
    query = query.where((where) =>
      where.exists(
        where
          .selectFrom("sandbox_metadata")
          .select("sandbox_metadata.key")
          .whereRef("sandbox_metadata.sandbox_id", "=", "sandboxes.id")
          .where("sandbox_metadata.key", "=", key)
          .where("sandbox_metadata.value", "=", value),
      ),
    );
  }
  if (filter.cursor !== undefined) {
    const { createdAt, id } = decodeCursor(filter.cursor);
    // Compared as a pair, for which the index is entered where the page begins.
    query = query.where((where) => where(where.refTuple("created_at", "id"), "<", where.tuple(createdAt, id)));
  }
  const rows = await query
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(filter.limit + 1)
    .execute();
  const items = rows.slice(0, filter.limit).map(decodeSandbox);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > filter.limit && last !== undefined ? encodeCursor(last) : null };
}
