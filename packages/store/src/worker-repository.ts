import type { Kysely } from "kysely";
import { z } from "zod";
import type { Tables } from "./tables.ts";

/** Whether a worker answers. */
export type WorkerState = "online" | "unreachable";

const stateSchema: z.ZodType<WorkerState> = z.enum(["online", "unreachable"]);

/** A worker as the store remembers it. */
export interface WorkerRecord {
  readonly id: string;
  readonly state: WorkerState;
  readonly version: string | null;
  /** Last time it answered, ms since the Unix epoch. */
  readonly lastSeenAt: number;
}

/** Workers seen. */
export class WorkerRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  /** Writes what is known of a worker. */
  async put(worker: WorkerRecord): Promise<void> {
    const row = { id: worker.id, state: worker.state, version: worker.version, last_seen_at: worker.lastSeenAt };
    await this.#db
      .insertInto("workers")
      .values(row)
      .onConflict((conflict) => conflict.column("id").doUpdateSet(row))
      .execute();
  }

  /** All workers ever seen, by id. */
  async list(): Promise<readonly WorkerRecord[]> {
    const rows = await this.#db.selectFrom("workers").selectAll().orderBy("id").execute();
    return rows.map((row) => ({ id: row.id, state: stateSchema.parse(row.state), version: row.version, lastSeenAt: row.last_seen_at }));
  }
}
