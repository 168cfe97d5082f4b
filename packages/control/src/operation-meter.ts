import { toCaissonError, type Clock } from "@caisson/contract";
import type { Logger } from "./logger.ts";
import type { OperationOptions } from "./operations.ts";

/** What a meter needs. */
export interface OperationMeterOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborted: nothing new is taken. Absent: whatever comes is. */
  readonly signal?: AbortSignal;
}

/** One log line for every operation: what, on which sandbox, how it ended, how long it took. */
export class OperationMeter {
  readonly #options: OperationMeterOptions;

  constructor(options: OperationMeterOptions) {
    this.#options = options;
  }

  /** Runs an operation, which may add fields to its line. Its error is a `CaissonError`. */
  async measured<T>(
    operation: string,
    id: string | undefined,
    options: OperationOptions & { readonly detail?: string },
    run: (line: Record<string, unknown>) => Promise<T>,
  ): Promise<T> {
    const { clock, logger, signal } = this.#options;
    const line: Record<string, unknown> = { operation, sandbox_id: id, request_id: options.requestId };
    const begun = clock.monotonic();
    try {
      if (signal?.aborted === true) throw signal.reason;
      const result = await run(line);
      logger.info({ ...line, outcome: "ok", duration_ms: round(clock.monotonic() - begun) }, "operation");
      return result;
    } catch (thrown) {
      const error = toCaissonError(thrown);
      const told = { ...line, outcome: error.code, duration_ms: round(clock.monotonic() - begun) };
      if (error.code === "internal") logger.error({ ...told, err: error }, "operation");
      else logger.info(told, "operation");
      throw error;
    } finally {
      if (options.detail !== undefined) logger.debug({ ...line, detail: options.detail }, "operation detail");
    }
  }
}

/** The signal of a caller, as a field to spread. */
export function signalOf(options: OperationOptions): { readonly signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
