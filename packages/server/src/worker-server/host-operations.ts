import {
  ASK_CONTROL_PLANE,
  CaissonError,
  isCaissonError,
  type ChannelOpener,
  type Clock,
  type ConsoleChunk,
  type ConsoleRange,
  type SandboxRef,
} from "@caisson/contract";
import {
  followConsole,
  OperationMeter,
  recordedGuest,
  type DataOperations,
  type Logger,
  type OperationName,
  type OperationOptions,
  type SandboxFacts,
} from "@caisson/control";
import type { Guest } from "@caisson/guest";
import type { DirectHost, PresentSandbox } from "./direct-host.ts";
import type { ProcessNews } from "./process-news.ts";
import type { PublicPorts } from "./public-ports.ts";

/** What operations on a worker need. */
export interface HostOperationsOptions {
  readonly host: DirectHost;
  /** The client of a guest agent over a way to it. */
  readonly guestOf: (opener: ChannelOpener) => Guest;
  readonly news: ProcessNews;
  readonly ports: PublicPorts;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * What is done inside sandboxes, on the worker that has them: the same as through a control plane, but that this one asks
 * nobody. A sandbox whose epoch is not the caller's is none of his; who knows what became of it is a control plane.
 */
export class HostOperations implements DataOperations {
  readonly #options: HostOperationsOptions;
  readonly #meter: OperationMeter;

  constructor(options: HostOperationsOptions) {
    this.#options = options;
    this.#meter = new OperationMeter(options);
  }

  /** What is known of a sandbox that is here; `worker_unavailable` when it is not: what became of it a control plane tells. */
  async get(id: string, options: OperationOptions = {}): Promise<SandboxFacts> {
    const present = this.#options.host.present(id);
    if (present === undefined || present.state === "stopped" || (options.epoch !== undefined && present.epoch !== options.epoch))
      throw hasLeft();
    return factsOf(id, present);
  }

  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: SandboxFacts) => Promise<T>,
    options: OperationOptions & { readonly detail?: string } = {},
  ): Promise<T> {
    return this.#meter.measured(operation, id, options, async () => {
      const { ref, present } = this.#find(id, options.epoch);
      if (present.state === "paused")
        throw new CaissonError("state_conflict", "The sandbox is paused; it must be running.", { detail: { state: "paused" } });
      const { host, guestOf, news, clock } = this.#options;
      const guest = recordedGuest({ host, ref, guestOf, operation, caller: options, recorder: news.of(ref), clock });
      try {
        return await use(guest, factsOf(id, present));
      } catch (error) {
        throw this.#explain(ref, error);
      }
    });
  }

  async portAccess(id: string, port: number): Promise<"public" | "private" | "ended"> {
    const present = this.#options.host.present(id);
    // What is not here has nothing to show, whoever asks; where it is, a control plane knows.
    if (present === undefined) return "private";
    return this.#options.ports.access({ sandboxId: id, epoch: present.epoch }, port);
  }

  logs(id: string, range: ConsoleRange, options: OperationOptions = {}): Promise<ConsoleChunk> {
    return this.#meter.measured("logs", id, options, async () => {
      const { ref } = this.#find(id, options.epoch);
      return this.#options.host.logs(ref, range, options.signal);
    });
  }

  followLogs(
    id: string,
    from: ConsoleRange,
    options: OperationOptions & { readonly signal: AbortSignal },
  ): Promise<AsyncIterable<ConsoleChunk>> {
    return this.#meter.measured("logs.follow", id, options, async () => {
      const { ref } = this.#find(id, options.epoch);
      const { host, clock } = this.#options;
      const read = (range: ConsoleRange): Promise<ConsoleChunk> => host.logs(ref, range, options.signal);
      return followConsole({ from, read, look: () => this.get(id, { epoch: ref.epoch }), clock, signal: options.signal });
    });
  }

  /** A sandbox that is here, by the right that the caller came with. */
  #find(id: string, epoch: number | undefined): { readonly ref: SandboxRef; readonly present: PresentSandbox } {
    const present = this.#options.host.present(id);
    if (present === undefined || present.state === "stopped" || (epoch !== undefined && present.epoch !== epoch)) throw notHere(id);
    return { ref: { sandboxId: id, epoch: present.epoch }, present };
  }

  /** A failure because the sandbox ended or moved meanwhile, in the words for that. */
  #explain(ref: SandboxRef, error: unknown): unknown {
    if (!isCaissonError(error, "agent_unreachable", "sandbox_not_found", "lease_lost")) return error;
    const now = this.#options.host.present(ref.sandboxId);
    if (now !== undefined && now.epoch === ref.epoch && now.state !== "stopped") return error;
    // Something may have been done by then: whoever repeats this must want to.
    return hasLeft(error);
  }
}

/** The error for a sandbox that this worker does not run by the caller's right: nothing was done. */
export function notHere(sandboxId: string): CaissonError {
  return new CaissonError("lease_lost", `The sandbox ${sandboxId} is not on this worker any more, or is there anew.`, {
    detail: ASK_CONTROL_PLANE,
  });
}

/** The error for work that was under way when its sandbox left: whoever repeats it hears from a control plane how it ended. */
function hasLeft(cause?: unknown): CaissonError {
  return new CaissonError("worker_unavailable", "The sandbox has left this worker, or has ended.", { cause, retryAfter: 1 });
}

function factsOf(id: string, { state, vcpus, memoryMb }: PresentSandbox): SandboxFacts {
  return { id, state: state === "stopped" ? "unhealthy" : state, reason: null, vcpus, memory_mb: memoryMb };
}
