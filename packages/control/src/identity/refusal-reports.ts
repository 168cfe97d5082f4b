import { toCaissonError, type CaissonError } from "@caisson/contract";
import { reasonOf, type RefusalReason } from "@caisson/identity";
import type { EventRepository, StoreClock } from "@caisson/store";
import type { Logger } from "../logger.ts";

/** Refusals that tell of a theft, a lie or a mistake, rather than of a token that is merely over. */
const REPORTED: ReadonlySet<string> = new Set<RefusalReason>([
  "wrong_worker",
  "key_mismatch",
  "certificate_mismatch",
  "nonce_used",
  "revoked",
  "own_token_needed",
  "registered_elsewhere",
  "invitation_used",
  "refresh_reused",
]);
/** For how long the same refusal of the same worker is not told again, in ms. */
const QUIET_MS = 600_000;
const MAX_REMEMBERED = 1_000;

/** Tells of workers that were refused although what they showed was once real: as an event, once per worker, reason and ten minutes. */
export class RefusalReports {
  readonly #events: Pick<EventRepository, "add">;
  readonly #clock: StoreClock;
  readonly #logger: Logger;
  readonly #told = new Map<string, number>();

  constructor(events: Pick<EventRepository, "add">, clock: StoreClock, logger: Logger) {
    this.#events = events;
    this.#clock = clock;
    this.#logger = logger;
  }

  /** Runs a check of what a worker showed and tells of its refusal: as one of this worker, unless the error knows whose credential it was. */
  async watch<T>(workerId: string, check: () => Promise<T>): Promise<T> {
    try {
      return await check();
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== undefined && REPORTED.has(reason)) await this.#tell(workerId, reason, toCaissonError(error));
      throw error;
    }
  }

  async #tell(named: string, reason: string, { message, detail }: CaissonError): Promise<void> {
    const owner = detail?.["worker_id"];
    const workerId = typeof owner === "string" ? owner : named;
    const key = `${workerId} ${reason}`;
    const now = this.#clock.now();
    const last = this.#told.get(key);
    if (last !== undefined && now - last < QUIET_MS) return;
    this.#told.delete(key);
    for (const [oldest] of this.#told) {
      if (this.#told.size < MAX_REMEMBERED) break;
      this.#told.delete(oldest);
    }
    this.#told.set(key, now);
    this.#logger.warn({ worker_id: workerId, reason }, `a worker was refused: ${message}`);
    try {
      await this.#events.add({ type: "worker.refused", resourceId: workerId, sandboxId: null, data: { reason, message } });
    } catch (error) {
      // The refusal counts, not its report.
      this.#logger.error({ worker_id: workerId, error: toCaissonError(error).message }, "a refusal could not be reported");
    }
  }
}
