import { toCaissonError, type Clock, type SandboxRef, type ToldProcess } from "@caisson/contract";
import type { Logger, RecordedGuestOptions } from "@caisson/control";
import type { DirectControl } from "./direct-host.ts";

/** How long a start waits for others of the same key, in ms. */
const GATHER_MS = 200;
/** Processes of one message. */
const BATCH = 256;
/** Starts that wait for a control plane. What is beyond is found by control planes in the sandboxes, without the key's name. */
const MOST_WAITING = 16_384;
/** Rest after no control plane took a message, in ms; it doubles. */
const REST_MS = { first: 500, longest: 10_000 } as const;
/** Time for a control plane to take a message, in ms: it asks the agent and writes to its database. */
const TELL_MS = 30_000;
/** The same when the worker shuts down, in ms. */
const FAREWELL_MS = 3_000;

interface Start extends ToldProcess {
  readonly ref: SandboxRef;
  readonly keyName: string | null;
}

/** What news need. */
export interface ProcessNewsOptions {
  readonly control: Pick<DirectControl, "processesChanged">;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Tells control planes which processes clients started on this worker itself, so that the exec log has them as any other. It
 * tells until one has taken it; what an agent forgets meanwhile (it remembers the last 256 that ended) is lost to the log.
 */
export class ProcessNews {
  readonly #options: ProcessNewsOptions;
  readonly #stop = new AbortController();
  #waiting: Start[] = [];
  #telling: Promise<void> | undefined;

  constructor(options: ProcessNewsOptions) {
    this.#options = options;
  }

  /** Starts that no control plane has taken. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes note of what is started in one sandbox. Ends are not told: control planes wait for them at the agent. */
  of(ref: SandboxRef): RecordedGuestOptions["recorder"] {
    return {
      started: ({ processId, kind, requestId, keyName }) => this.#add({ ref, process_id: processId, kind, request_id: requestId, keyName }),
      ended: () => undefined,
      watch: () => undefined,
    };
  }

  /** Tells what waits, once more, and no later. Never rejects. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#telling;
    while (this.#waiting.length > 0 && (await this.#tell(FAREWELL_MS))) continue;
  }

  #add(start: Start): void {
    if (this.#waiting.length < MOST_WAITING) this.#waiting.push(start);
    this.#telling ??= this.#run().finally(() => {
      this.#telling = undefined;
    });
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stop;
    let rest: number = GATHER_MS;
    let failures = 0;
    while (!signal.aborted) {
      await clock.sleep(rest, signal).catch(() => undefined); // aborted: the loop ends
      if (signal.aborted) return;
      if (await this.#tell(TELL_MS, signal)) {
        if (this.#waiting.length === 0) return;
        failures = 0;
        rest = 0;
      } else {
        rest = Math.min(REST_MS.longest, REST_MS.first * 2 ** failures);
        failures += 1;
      }
    }
  }

  /** Tells those that the first of the waiting can take with it; whether that worked. */
  async #tell(withinMs: number, signal?: AbortSignal): Promise<boolean> {
    const { control, clock, logger } = this.#options;
    const [first] = this.#waiting;
    if (first === undefined) return true;
    const { ref, keyName } = first;
    const together = this.#waiting.filter(
      (one) => one.ref.sandboxId === ref.sandboxId && one.ref.epoch === ref.epoch && one.keyName === keyName,
    );
    const told = together.slice(0, BATCH);
    const limit = new AbortController();
    const timer = clock.schedule(withinMs, () => limit.abort());
    try {
      const processes = told.map(({ process_id, kind, request_id }) => ({ process_id, kind, request_id }));
      const changed = { sandbox_id: ref.sandboxId, epoch: ref.epoch, key_name: keyName, processes };
      const ends = signal === undefined ? limit.signal : AbortSignal.any([limit.signal, signal]);
      await control.processesChanged(changed, { signal: ends });
    } catch (thrown) {
      const { code } = toCaissonError(thrown);
      // It has ended, or is another's by now: its log is closed.
      if (code !== "forbidden" && code !== "lease_lost" && code !== "sandbox_not_found" && code !== "sandbox_destroyed") {
        logger.debug({ sandbox_id: ref.sandboxId, outcome: code, waiting: this.#waiting.length }, "processes will be told later");
        // To the end: it may be this one sandbox that cannot be asked about them, and the others do not wait for it.
        const later = new Set(together);
        this.#waiting = [...this.#waiting.filter((one) => !later.has(one)), ...together];
        return false;
      }
    } finally {
      timer.cancel();
    }
    const done = new Set(told);
    this.#waiting = this.#waiting.filter((one) => !done.has(one));
    return true;
  }
}
