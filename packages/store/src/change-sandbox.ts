import { isTerminal, type SandboxState } from "@caisson/contract";
import type { Kysely, UpdateQueryBuilder, UpdateResult } from "kysely";
import type { WriteParts } from "./engine.ts";
import { eventRow, type NewEvent } from "./event-repository.ts";
import { endProcesses } from "./exec-log-repository.ts";
import { decodeSandbox, type Reason, type SandboxRecord } from "./sandbox-record.ts";
import type { Tables } from "./tables.ts";
import { writeTogether } from "./write-together.ts";

/** A change of state. */
export interface SandboxChange {
  readonly state: SandboxState;
  readonly reason: Reason | null;
  /** For transitional states: when they are forced to end, in ms from now. */
  readonly deadlineMs: number | null;
  /** Takes the right away from whoever holds the present epoch. */
  readonly fence: boolean;
  /** What the worker said of the box. */
  readonly box?: { readonly runtime: string | null; readonly imageDigest: string | null };
  readonly event: Pick<NewEvent, "type" | "data">;
}

/** Writes state, epoch, lease and event of a sandbox if it still has this version: all or nothing; see `SandboxRepository.apply`. */
export async function changeSandbox(
  db: Kysely<Tables>,
  of: { readonly id: string; readonly version: number; readonly seen: SandboxRecord | undefined },
  change: SandboxChange,
  { clock, events, engine }: WriteParts,
): Promise<SandboxRecord | undefined> {
  const { id, version, seen } = of;
  const ended = isTerminal(change.state);
  const event = { ...change.event, resourceId: id, sandboxId: id };
  const { atOnce } = engine;
  if (atOnce !== undefined && !ended && !change.fence) {
    return atOnce(async (at) => {
      const now = clock.now();
      const { shape, values, build } = changing(at, id, version, change, now);
      const inserts = [{ table: "events", rows: [eventRow(event, now)] }] as const;
      if (seen === undefined) {
        const whole = { shape: `${shape} whole`, values, build: (...given: ChangeValues) => build(...given).returningAll() };
        const row = await writeTogether(at, whole, inserts);
        return row === undefined ? undefined : decodeSandbox(row);
      }
      const written = await writeTogether(
        at,
        { shape, values, build: (...given: ChangeValues) => build(...given).returning("id") },
        inserts,
      );
      return written === undefined ? undefined : changed(seen, change, now);
    });
  }
  return db.transaction().execute(async (trx) => {
    const now = clock.now();
    const { build, values } = changing(trx, id, version, change, now);
    const row = await build(...values)
      .returningAll()
      .executeTakeFirst();
    if (row === undefined) return undefined;
    if (ended) await trx.deleteFrom("ports").where("sandbox_id", "=", id).execute();
    if (change.fence) await trx.updateTable("leases").set({ epoch: row.epoch }).where("sandbox_id", "=", id).execute();
    if (ended) await endProcesses(trx, id, now, events);
    await events.append(trx, now, event);
    return decodeSandbox(row);
  });
}

type Changing = UpdateQueryBuilder<Tables, "sandboxes", "sandboxes", UpdateResult>;

/** What `changing` writes. */
type ChangeValues = [
  id: string,
  version: number,
  now: number,
  code: string | null,
  message: string | null,
  deadlineAt: number | null,
  runtime: string | null,
  imageDigest: string | null,
];

/** The statement that writes the row of a sandbox, if it still has this version; see `executeCompiled` for shape and values. */
function changing(
  db: Kysely<Tables>,
  id: string,
  version: number,
  change: SandboxChange,
  now: number,
): { readonly shape: string; readonly values: ChangeValues; readonly build: (...values: ChangeValues) => Changing } {
  const { state, fence, box, reason, deadlineMs } = change;
  const deadlineAt = deadlineMs === null ? null : now + deadlineMs;
  const values: ChangeValues = [
    id,
    version,
    now,
    reason?.code ?? null,
    reason?.message ?? null,
    deadlineAt,
    box?.runtime ?? null,
    box?.imageDigest ?? null,
  ];
  const build = (...[of, seen, at, code, message, deadline, runtime, imageDigest]: ChangeValues): Changing =>
    db
      .updateTable("sandboxes")
      .set((set) => ({
        version: set("version", "+", 1),
        epoch: set("epoch", "+", fence ? 1 : 0),
        state,
        reason_code: code,
        reason_message: message,
        updated_at: at,
        deadline_at: deadline,
        ...(box === undefined ? {} : { runtime, image_digest: imageDigest }),
        ...(state === "running" ? { started_at: set.fn.coalesce("started_at", set.val(at)) } : {}),
        ...(state === "creating" ? {} : { driver: null, driver_until: null }),
        ...(isTerminal(state) ? { ended_at: set.fn.coalesce("ended_at", set.val(at)), env: null } : {}),
      }))
      .where("id", "=", of)
      .where("version", "=", seen);
  return { shape: `change to ${state}${fence ? ", fenced" : ""}${box === undefined ? "" : ", of a box"}`, values, build };
}

/** A record after a change that neither ends it nor takes its right away. Whatever else may change raises the version. */
function changed(seen: SandboxRecord, change: SandboxChange, now: number): SandboxRecord {
  return {
    ...seen,
    version: seen.version + 1,
    state: change.state,
    reason: change.reason,
    updatedAt: now,
    deadlineAt: change.deadlineMs === null ? null : now + change.deadlineMs,
    ...(change.box === undefined ? {} : { runtime: change.box.runtime, imageDigest: change.box.imageDigest }),
    startedAt: change.state === "running" ? (seen.startedAt ?? now) : seen.startedAt,
  };
}
