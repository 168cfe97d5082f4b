import { toCaissonError, type Clock, type SandboxHost, type WorkerDescription } from "@caisson/contract";
import type { Logger } from "./logger.ts";
import { SingleFlight } from "./single-flight.ts";
import { withDeadline } from "./with-deadline.ts";

/** How long a description is believed, in ms. */
const FRESH_MS = 5_000;
/** Time a worker has to describe itself, in ms. */
const DESCRIBE_DEADLINE_MS = 10_000;

/** What a directory needs. */
export interface HostDirectoryOptions {
  readonly clock: Clock;
  readonly hosts: ReadonlyMap<string, SandboxHost>;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Workers and what they said of themselves lately. */
export class HostDirectory {
  readonly #options: HostDirectoryOptions;
  readonly #known = new Map<string, { readonly description: WorkerDescription; readonly at: number }>();
  readonly #asking = new SingleFlight<WorkerDescription | undefined>();

  constructor(options: HostDirectoryOptions) {
    this.#options = options;
  }

  /** Descriptions of all workers that answer. */
  async describeAll(): Promise<readonly WorkerDescription[]> {
    const found = await Promise.all([...this.#options.hosts.values()].map((host) => this.#describe(host)));
    return found.filter((description) => description !== undefined);
  }

  async #describe(host: SandboxHost): Promise<WorkerDescription | undefined> {
    const { clock, signal, logger } = this.#options;
    const known = this.#known.get(host.workerId);
    if (known !== undefined && clock.monotonic() - known.at < FRESH_MS) return known.description;
    return this.#asking.run(host.workerId, async () => {
      try {
        const deadline = { clock, ms: DESCRIBE_DEADLINE_MS, what: `the worker ${host.workerId}`, signal };
        const description = await withDeadline(deadline, (inner) => host.describe(inner));
        this.#known.set(host.workerId, { description, at: clock.monotonic() });
        return description;
      } catch (error) {
        logger.warn({ worker_id: host.workerId, outcome: toCaissonError(error).code, err: error }, "a worker does not describe itself");
        return undefined;
      }
    });
  }
}
