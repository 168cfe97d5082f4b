import {
  isRouted,
  toCaissonError,
  type ChannelOpener,
  type Clock,
  type ConsoleChunk,
  type ConsoleRange,
  type ExecLogPage,
  type ExecLogQuery,
  type Sandbox,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { SandboxRecord, Store } from "@caisson/store";
import { followConsole } from "./console-follower.ts";
import { toExecLogEntry } from "./exec-log-view.ts";
import type { Logger } from "./logger.ts";
import { signalOf, type OperationMeter } from "./operation-meter.ts";
import type { OperationName, OperationOptions } from "./operations.ts";
import type { ProcessRecorder } from "./process-recorder.ts";
import { recordedGuest } from "./recorded-guest.ts";
import type { SandboxAccess } from "./sandbox-access.ts";
import { sandboxNotFound } from "./sandbox-errors.ts";
import { toSandbox } from "./sandbox-view.ts";
import { withDeadline } from "./with-deadline.ts";

/** Time a worker has to answer a small question, in ms. */
const ASK_DEADLINE_MS = 15_000;
/** Time a sandbox has to tell of its processes before its exec log is read without it, in ms. */
const CATCH_UP_MS = 2_000;

/** What operations in sandboxes need. */
export interface GuestOperationsOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly logger: Logger;
  readonly meter: OperationMeter;
  readonly access: SandboxAccess;
  readonly recorder: ProcessRecorder;
  readonly guestOf: (opener: ChannelOpener) => Guest;
}

/** What is done in sandboxes and what they wrote: `Operations` documents each. */
export class GuestOperations {
  readonly #options: GuestOperationsOptions;

  constructor(options: GuestOperationsOptions) {
    this.#options = options;
  }

  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: Sandbox) => Promise<T>,
    options: OperationOptions & { readonly detail?: string },
  ): Promise<T> {
    const { access, clock, guestOf, meter, recorder } = this.#options;
    return meter.measured(operation, id, options, async () => {
      const seen = await access.record(id);
      await access.awaited(seen, options.signal);
      const host = access.routed(seen);
      let result: T;
      try {
        const ref = { sandboxId: id, epoch: seen.epoch };
        const guest = recordedGuest({ host, ref, guestOf, operation, caller: options, recorder, clock });
        result = await use(guest, toSandbox(seen));
      } catch (error) {
        throw await access.doubt(seen, error);
      }
      if (seen.state === "unhealthy") await access.recovered(seen);
      return result;
    });
  }

  execLog(id: string, query: ExecLogQuery, options: OperationOptions): Promise<ExecLogPage> {
    const { access, clock, logger, meter, recorder, store } = this.#options;
    return meter.measured("exec_log", id, options, async () => {
      const seen = await store.sandboxes.get(id);
      try {
        const deadline = { clock, ms: CATCH_UP_MS, what: "the sandbox's own list", ...signalOf(options) };
        if (seen === undefined || !isRouted(seen.state) || query.cursor !== undefined) await recorder.flush();
        else await withDeadline(deadline, async () => recorder.catchUp(id, access.guestOf(seen)));
      } catch (error) {
        options.signal?.throwIfAborted();
        logger.debug({ sandbox_id: id, outcome: toCaissonError(error).code }, "the exec log was read without asking the sandbox");
      }
      const page = await store.execLog.page(id, query.limit ?? 100, query.cursor);
      if (seen === undefined && page.items.length === 0) throw sandboxNotFound(id);
      return { items: page.items.map(toExecLogEntry), next_cursor: page.nextCursor };
    });
  }

  logs(id: string, range: ConsoleRange, options: OperationOptions): Promise<ConsoleChunk> {
    const { access, meter } = this.#options;
    return meter.measured("logs", id, options, async () => this.#read(await access.unended(id), range, options));
  }

  followLogs(
    id: string,
    from: ConsoleRange,
    options: OperationOptions & { readonly signal: AbortSignal },
  ): Promise<AsyncIterable<ConsoleChunk>> {
    const { access, clock, meter } = this.#options;
    return meter.measured("logs.follow", id, options, async () => {
      const seen = await access.unended(id);
      const read = (range: ConsoleRange): Promise<ConsoleChunk> => this.#read(seen, range, options);
      return followConsole({ from, read, look: () => access.record(id), clock, signal: options.signal });
    });
  }

  async #read(seen: SandboxRecord, range: ConsoleRange, options: OperationOptions): Promise<ConsoleChunk> {
    await this.#options.access.awaited(seen, options.signal);
    const host = this.#options.access.hostOf(seen);
    const deadline = { clock: this.#options.clock, ms: ASK_DEADLINE_MS, what: "the console", ...signalOf(options) };
    return withDeadline(deadline, (signal) => host.logs({ sandboxId: seen.id, epoch: seen.epoch }, range, signal));
  }
}
