import { PROCESS_KINDS, type ProcessKind } from "@caisson/contract";
import type { Kysely, Selectable, Transaction } from "kysely";
import { z } from "zod";
import type { EventRepository, NewEvent } from "./event-repository.ts";
import type { Engine } from "./engine.ts";
import { decodeNumber } from "./page-cursor.ts";
import type { StoreClock } from "./store-clock.ts";
import type { ExecLogTable, Tables } from "./tables.ts";

/** Which process. */
export interface ProcessRef {
  readonly sandboxId: string;
  readonly processId: number;
}

/** A process that was started. */
export interface StartedProcess extends ProcessRef {
  readonly kind: ProcessKind;
  readonly command: string;
  readonly args: readonly string[];
  /** More was given than `command` and `args` have. */
  readonly cut: boolean;
  readonly user: string | null;
  readonly workdir: string | null;
  /** Ms since the Unix epoch. */
  readonly startedAt: number;
  readonly keyName: string | null;
  readonly requestId: string | null;
}

/** How a process ended. */
export interface ProcessExit {
  readonly exitCode: number;
  readonly signal: string | null;
  readonly timedOut: boolean;
  readonly durationMs: number;
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

/** A process that has ended; null when its end was not seen. */
export interface EndedProcess extends ProcessRef {
  /** Ms since the Unix epoch. */
  readonly endedAt: number;
  readonly exit: ProcessExit | null;
}

/** A line of the log. */
export interface ProcessRecord extends StartedProcess {
  readonly endedAt: number | null;
  readonly exit: ProcessExit | null;
}

const kindSchema = z.enum(PROCESS_KINDS);
const argsSchema = z.array(z.string());
const exitSchema = z.strictObject({
  exitCode: z.int(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
  durationMs: z.number(),
  stdoutBytes: z.int(),
  stderrBytes: z.int(),
});

/** What was run in sandboxes. Writing the same again changes nothing and tells no event again. */
export class ExecLogRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;
  readonly #engine: Pick<Engine, "lazily" | "locks">;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository, engine: Pick<Engine, "lazily" | "locks">) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
    this.#engine = engine;
  }

  /**
   * Writes starts and ends with their events, in one transaction that need not survive a power failure: what it tells is
   * found again in the sandboxes, which do not either. What started in a sandbox that has ended has ended with it.
   */
  write(started: readonly StartedProcess[], ended: readonly EndedProcess[]): Promise<void> {
    return this.#engine.lazily(async (trx) => {
      const live = await this.#live(trx, [...started, ...ended]);
      const events: NewEvent[] = [];
      const rest = new Map(ended.map((one) => [keyOf(one), one]));
      if (started.length > 0) {
        // Most processes end before their start is written: then one row says both.
        const rows = started.map((process) => encode(process, rest.get(keyOf(process))));
        const fresh = await trx
          .insertInto("exec_log")
          .values(rows)
          .onConflict((conflict) => conflict.columns(["sandbox_id", "process_id"]).doNothing())
          .returning(["sandbox_id", "process_id", "kind"])
          .execute();
        for (const row of fresh) {
          events.push(event("process.started", row.sandbox_id, row.process_id, { kind: row.kind }));
          const key = keyOf({ sandboxId: row.sandbox_id, processId: row.process_id });
          const end = rest.get(key);
          if (end !== undefined) events.push(exited(row.sandbox_id, row.process_id, end.exit));
          rest.delete(key);
        }
        if (fresh.length < rows.length) await this.#name(trx, started);
      }
      for (const { sandboxId, processId, endedAt, exit } of rest.values()) {
        const result = await trx
          .updateTable("exec_log")
          .set((set) => ({
            // What a sandbox says of the time is not believed against the order of things.
            ended_at: set.case().when("started_at", ">", endedAt).then(set.ref("started_at")).else(endedAt).end(),
            exit: exit === null ? null : JSON.stringify(exit),
          }))
          .where("sandbox_id", "=", sandboxId)
          .where("process_id", "=", processId)
          .where("ended_at", "is", null)
          .executeTakeFirst();
        if (result.numUpdatedRows > 0n) events.push(exited(sandboxId, processId, exit));
      }
      await this.#events.append(trx, this.#clock.now(), ...events);
      for (const sandboxId of new Set(started.map((one) => one.sandboxId))) {
        if (!live.has(sandboxId)) await endProcesses(trx, sandboxId, this.#clock.now(), this.#events);
      }
    });
  }

  /** Says of processes that were found before, nobody knew whose, how and by whom they were started. */
  async #name(trx: Transaction<Tables>, started: readonly StartedProcess[]): Promise<void> {
    for (const { sandboxId, processId, kind, keyName, requestId } of started) {
      if (kind === "unknown") continue;
      await trx
        .updateTable("exec_log")
        .set({ kind, key_name: keyName, request_id: requestId })
        .where("sandbox_id", "=", sandboxId)
        .where("process_id", "=", processId)
        .where("kind", "=", "unknown")
        .execute();
    }
  }

  /** Which of their sandboxes have not ended; those do not end before the transaction has. */
  async #live(trx: Transaction<Tables>, processes: readonly ProcessRef[]): Promise<ReadonlySet<string>> {
    const ids = new Set(processes.map((one) => one.sandboxId));
    if (ids.size === 0) return new Set();
    const query = trx
      .selectFrom("sandboxes")
      .select("id")
      .where("id", "in", [...ids])
      .where("ended_at", "is", null)
      .orderBy("id");
    return new Set((await this.#engine.locks.rows(query, "share").execute()).map((row) => row.id));
  }

  /** A page of one sandbox, newest first, and the cursor of the next one. */
  async page(
    sandboxId: string,
    limit: number,
    cursor?: string,
  ): Promise<{ readonly items: readonly ProcessRecord[]; readonly nextCursor: string | null }> {
    let query = this.#db.selectFrom("exec_log").selectAll().where("sandbox_id", "=", sandboxId);
    if (cursor !== undefined) query = query.where("process_id", "<", decodeNumber(cursor));
    const rows = await query
      .orderBy("process_id", "desc")
      .limit(limit + 1)
      .execute();
    const items = rows.slice(0, limit).map(decode);
    const last = items.at(-1);
    return { items, nextCursor: rows.length > limit && last !== undefined ? String(last.processId) : null };
  }

  /** Processes of which no end is known, oldest first; of one sandbox when it is named. */
  async running(sandboxId?: string): Promise<readonly ProcessRecord[]> {
    let query = this.#db.selectFrom("exec_log").selectAll().where("ended_at", "is", null);
    if (sandboxId !== undefined) query = query.where("sandbox_id", "=", sandboxId);
    return (await query.orderBy("sandbox_id").orderBy("process_id").execute()).map(decode);
  }

  /** Which of these processes the log has. */
  async known(sandboxId: string, processIds: readonly number[]): Promise<ReadonlySet<number>> {
    if (processIds.length === 0) return new Set();
    const rows = await this.#db
      .selectFrom("exec_log")
      .select("process_id")
      .where("sandbox_id", "=", sandboxId)
      .where("process_id", "in", [...processIds])
      .execute();
    return new Set(rows.map((row) => row.process_id));
  }
}

/** Ends what still runs of a sandbox that has ended, in the transaction that ended it. */
export async function endProcesses(trx: Transaction<Tables>, sandboxId: string, now: number, events: EventRepository): Promise<void> {
  const rows = await trx
    .updateTable("exec_log")
    .set({ ended_at: now })
    .where("sandbox_id", "=", sandboxId)
    .where("ended_at", "is", null)
    .returning("process_id")
    .execute();
  await events.append(trx, now, ...rows.map((row) => exited(sandboxId, row.process_id, null)));
}

function exited(sandboxId: string, processId: number, exit: ProcessExit | null): NewEvent {
  const data =
    exit === null
      ? { exit_code: null, signal: null, timed_out: false, duration_ms: null }
      : { exit_code: exit.exitCode, signal: exit.signal, timed_out: exit.timedOut, duration_ms: exit.durationMs };
  return event("process.exited", sandboxId, processId, data);
}

function event(type: NewEvent["type"], sandboxId: string, processId: number, data: NewEvent["data"]): NewEvent {
  return { type, resourceId: String(processId), sandboxId, data };
}

function keyOf({ sandboxId, processId }: ProcessRef): string {
  return `${sandboxId}/${processId}`;
}

function encode(process: StartedProcess, end: EndedProcess | undefined): ExecLogTable {
  return {
    sandbox_id: process.sandboxId,
    process_id: process.processId,
    kind: process.kind,
    command: process.command,
    args: JSON.stringify(process.args),
    cut: process.cut ? 1 : 0,
    user: process.user,
    workdir: process.workdir,
    started_at: process.startedAt,
    ended_at: end === undefined ? null : Math.max(process.startedAt, end.endedAt),
    exit: end === undefined || end.exit === null ? null : JSON.stringify(end.exit),
    key_name: process.keyName,
    request_id: process.requestId,
  };
}

function decode(row: Selectable<ExecLogTable>): ProcessRecord {
  return {
    sandboxId: row.sandbox_id,
    processId: row.process_id,
    kind: kindSchema.parse(row.kind),
    command: row.command,
    args: argsSchema.parse(JSON.parse(row.args)),
    cut: row.cut !== 0,
    user: row.user,
    workdir: row.workdir,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    exit: row.exit === null ? null : exitSchema.parse(JSON.parse(row.exit)),
    keyName: row.key_name,
    requestId: row.request_id,
  };
}
