import { isTerminal } from "@caisson/contract";
import type { Kysely, UpdateQueryBuilder, UpdateResult } from "kysely";
import type { SandboxRecord } from "./sandbox-record.ts";
import type { SandboxChange } from "./sandbox-repository.ts";
import type { Tables } from "./tables.ts";

type Changing = UpdateQueryBuilder<Tables, "sandboxes", "sandboxes", UpdateResult>;

/** What `changing` writes. */
export type ChangeValues = [
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
export function changing(
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
export function changed(seen: SandboxRecord, change: SandboxChange, now: number): SandboxRecord {
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
