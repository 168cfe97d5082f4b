import { toCaissonError, type Clock } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Logger } from "../logger.ts";

/** What a worker said that cannot be true, or that is not its to say. */
export type RefusalReason =
  /** A higher epoch than was ever given for this sandbox. */
  | "epoch_too_high"
  /** A sandbox that another worker has, under its present epoch. */
  | "foreign_sandbox"
  /** A sandbox that never was, or that was forgotten long ago. */
  | "unknown_sandbox"
  /** A sandbox of which it tells what cannot be read. */
  | "unreadable_sandbox"
  /** It was removed, or its credentials were revoked. */
  | "removed";

/** One event per worker and reason in this time, in ms; what comes more often is counted. */
const EVERY_MS = 60_000;
/** Workers and reasons that are remembered. */
const MOST_KNOWN = 4_096;

/** What reports of refusals need. */
export interface RefusalsOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly logger: Logger;
}

/** Tells of what was refused to workers, at a bounded rate: a liar fills neither the log nor the database. */
export class Refusals {
  readonly #options: RefusalsOptions;
  readonly #told = new Map<string, { at: number; since: number }>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** Reports a refusal; false when it was only counted. Never rejects. */
  async report(workerId: string, reason: RefusalReason, data: Readonly<Record<string, unknown>>): Promise<boolean> {
    const { clock, logger, store } = this.#options;
    const key = `${workerId} ${reason}`;
    const now = clock.monotonic();
    const before = this.#told.get(key);
    if (before !== undefined && now - before.at < EVERY_MS) {
      before.since += 1;
      return false;
    }
    const oldest = this.#told.keys().next();
    if (before === undefined && this.#told.size >= MOST_KNOWN && !oldest.done) this.#told.delete(oldest.value);
    this.#told.set(key, { at: now, since: 0 });
    const told = { reason, ...data, ...(before === undefined || before.since === 0 ? {} : { more_before: before.since }) };
    logger.warn({ worker_id: workerId, ...told }, "what a worker said was refused");
    try {
      await store.events.add({ type: "worker.refused", resourceId: workerId, sandboxId: null, data: told });
    } catch (error) {
      logger.warn({ worker_id: workerId, outcome: toCaissonError(error).code, err: error }, "a refusal was not written");
    }
    return true;
  }
}
