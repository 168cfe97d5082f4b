import {
  CaissonError,
  WORKER_STATES,
  toCaissonError,
  workerTransition,
  type Clock,
  type ListWorkersQuery,
  type Worker,
  type WorkerPage,
  type WorkerState,
} from "@caisson/contract";
import type { Store, WorkerChange, WorkerRecord } from "@caisson/store";
import type { Cleaner } from "../cleaner.ts";
import type { Hosts } from "../hosts.ts";
import type { Logger } from "../logger.ts";
import { signalOf, type OperationMeter } from "../operation-meter.ts";
import type { OperationOptions } from "../operations.ts";
import type { StateWriter } from "../state-writer.ts";
import { withDeadline } from "../with-deadline.ts";
import type { LinkSessions } from "./link-sessions.ts";
import type { WorkerDirectory } from "./worker-directory.ts";
import type { WorkerHeartbeats } from "./worker-heartbeats.ts";
import type { WorkerIdentities } from "./worker-identities.ts";
import type { WorkerOperations } from "./worker-operations.ts";
import { toWorker } from "./worker-view.ts";

/** Page size when none is given. */
const DEFAULT_LIMIT = 100;
/** Time that the sandboxes of a worker get to end before it is removed all the same, in ms. */
const EVICTION_MS = 30_000;
/** Time a worker has to take a word of being drained, in ms; its next heartbeat brings it again. */
const TELL_MS = 2_000;
/** Sandboxes that are ended at once. */
const ENDED_AT_ONCE = 32;

/** What operations on workers need. */
export interface FleetWorkersOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly hosts: Hosts;
  readonly states: StateWriter;
  readonly cleaner: Cleaner;
  readonly directory: WorkerDirectory;
  readonly sessions: LinkSessions;
  readonly heartbeats: Pick<WorkerHeartbeats, "publicUrlProblem">;
  readonly identities?: Pick<WorkerIdentities, "revoke">;
  readonly meter: OperationMeter;
  readonly logger: Logger;
}

/** What an admin may do with workers, in the database: it holds for all control planes. */
export class FleetWorkers implements WorkerOperations {
  readonly #options: FleetWorkersOptions;

  constructor(options: FleetWorkersOptions) {
    this.#options = options;
  }

  list(query: ListWorkersQuery, options: OperationOptions = {}): Promise<WorkerPage> {
    const { meter, store } = this.#options;
    return meter.measured("workers.list", undefined, options, async () => {
      const { limit = DEFAULT_LIMIT, cursor, state } = query;
      const rows = await store.workers.list({
        limit: limit + 1,
        ...(state === undefined ? {} : { states: statesOf(state) }),
        ...(cursor === undefined ? {} : { after: idOf(cursor) }),
      });
      const items = rows.slice(0, limit);
      const last = items.at(-1);
      return {
        items: items.map((row) => this.#view(row)),
        next_cursor: rows.length > limit && last !== undefined ? cursorOf(last.id) : null,
      };
    });
  }

  get(id: string, options: OperationOptions = {}): Promise<Worker> {
    return this.#options.meter.measured("workers.get", undefined, options, async () => this.#view(await this.#record(id)));
  }

  drain(id: string, options: OperationOptions = {}): Promise<Worker> {
    return this.#measured("drain", id, options, () => this.#setDrain(id, "drain"));
  }

  undrain(id: string, options: OperationOptions = {}): Promise<Worker> {
    return this.#measured("undrain", id, options, () => this.#setDrain(id, "undrain"));
  }

  revoke(id: string, options: OperationOptions = {}): Promise<Worker> {
    return this.#measured("revoke", id, options, async () => {
      const seen = await this.#record(id);
      if (seen.credential === "local")
        throw new CaissonError("state_conflict", `The worker ${id} is in the server and shows no credential.`);
      await this.#options.identities?.revoke(id);
      this.#options.sessions.end(new CaissonError("unauthorized", `The credentials of the worker ${id} were revoked.`), id);
      return this.#record(id);
    });
  }

  remove(id: string, options: OperationOptions & { readonly force?: boolean } = {}): Promise<Worker> {
    const { identities, sessions, store } = this.#options;
    return this.#measured("remove", id, options, async () => {
      for (;;) {
        const removal = await store.workers.remove(id);
        if (removal.kind === "unknown") throw notFound(id);
        if (removal.kind === "removed") {
          if (removal.worker.credential !== "local") await identities?.revoke(id);
          sessions.end(new CaissonError("unauthorized", `The worker ${id} was removed.`), id);
          // As it was removed: it may have joined again.
          return removal.worker;
        }
        if (options.force !== true) {
          const { sandboxIds, count } = removal;
          throw new CaissonError("worker_in_use", `The worker ${id} has ${count} ${count === 1 ? "sandbox" : "sandboxes"}.`, {
            detail: { worker_id: id, sandbox_ids: sandboxIds, count },
          });
        }
        // None comes while the rest goes.
        await this.#setDrain(id, "drain");
        await this.#evict(id, removal.sandboxIds, options);
      }
    });
  }

  /**
   * Ends sandboxes of a worker, as far as it can be reached; the rest is destroyed by epoch should it ever return. A creation that
   * has gone on to another worker meanwhile is none of them.
   */
  async #evict(workerId: string, sandboxIds: readonly string[], options: OperationOptions): Promise<void> {
    const { cleaner, clock, logger, states } = this.#options;
    const left = [...sandboxIds];
    const boxes: Promise<unknown>[] = [];
    const work = async (): Promise<void> => {
      for (let id = left.shift(); id !== undefined; id = left.shift()) {
        const { sandbox } = await states.advance(id, "destroy_requested", { workerId });
        if (sandbox.workerId === workerId) boxes.push(cleaner.clean(sandbox));
      }
    };
    await Promise.all(Array.from({ length: ENDED_AT_ONCE }, work));
    try {
      await withDeadline({ clock, ms: EVICTION_MS, what: "the end of its sandboxes", ...signalOf(options) }, () => Promise.all(boxes));
    } catch (error) {
      options.signal?.throwIfAborted();
      logger.warn({ outcome: toCaissonError(error).code }, "a worker is removed before all its boxes have ended");
    }
  }

  async #setDrain(id: string, how: "drain" | "undrain"): Promise<WorkerRecord> {
    const { directory, store } = this.#options;
    for (;;) {
      const seen = await this.#record(id);
      if (seen.state === "removed")
        throw new CaissonError("state_conflict", `The worker ${id} was removed.`, { detail: { state: seen.state } });
      if (seen.adminDrain === (how === "drain")) return seen;
      const draining = how === "drain" || seen.selfDrain;
      // One that is not there stays so; its next heartbeat sees the drain.
      const there = seen.state === "online" || seen.state === "draining";
      const state = there ? workerTransition(seen.state, draining ? "heard_draining" : "heard") : seen.state;
      const change: WorkerChange = {
        adminDrain: how === "drain",
        state,
        ...(state === seen.state
          ? {}
          : { event: { type: state === "draining" ? "worker.draining" : "worker.online", data: { from: seen.state, by: "admin" } } }),
      };
      const written = await store.workers.change(id, seen.version, change);
      directory.forget();
      if (written === undefined) continue;
      await this.#tell(id, draining);
      return written;
    }
  }

  /** Tells a worker at once what the answer to its next heartbeat would: until then it goes by the one before. */
  async #tell(id: string, draining: boolean): Promise<void> {
    const { clock, hosts, logger } = this.#options;
    const host = hosts.get(id);
    if (host?.drain === undefined) return;
    try {
      await withDeadline({ clock, ms: TELL_MS, what: `the worker ${id}` }, (signal) => host.drain?.(draining, signal) ?? Promise.resolve());
    } catch (error) {
      logger.debug({ worker_id: id, outcome: toCaissonError(error).code }, "a worker learns with its heartbeat that it is drained or not");
    }
  }

  async #measured(operation: string, id: string, options: OperationOptions, run: () => Promise<WorkerRecord>): Promise<Worker> {
    const { directory, meter } = this.#options;
    return meter.measured(`workers.${operation}`, undefined, options, async (line) => {
      line["worker_id"] = id;
      try {
        return this.#view(await run());
      } finally {
        directory.forget();
      }
    });
  }

  #view(record: WorkerRecord): Worker {
    const { directory, heartbeats } = this.#options;
    return toWorker(record, directory.late(record), heartbeats.publicUrlProblem(record.id));
  }

  async #record(id: string): Promise<WorkerRecord> {
    const record = await this.#options.store.workers.get(id);
    if (record === undefined) throw notFound(id);
    return record;
  }
}

function notFound(id: string): CaissonError {
  return new CaissonError("worker_not_found", `There is no worker ${id}.`, { detail: { worker_id: id } });
}

function statesOf(text: string): readonly WorkerState[] {
  return text.split(",").map((part): WorkerState => {
    const state = WORKER_STATES.find((known) => known === part.trim());
    if (state !== undefined) return state;
    const message = `has no state named ${JSON.stringify(part)}; there are ${WORKER_STATES.join(", ")}`;
    throw new CaissonError("invalid_request", `state ${message}.`, { errors: [{ path: "state", message }] });
  });
}

function cursorOf(id: string): string {
  return Buffer.from(id).toString("base64url");
}

function idOf(cursor: string): string {
  return Buffer.from(cursor, "base64url").toString();
}
