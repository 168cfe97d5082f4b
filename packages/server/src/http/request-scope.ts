import { CaissonError, type Clock } from "@caisson/contract";
import type { Caller } from "../auth/key-verifier.ts";
import type { Grant } from "@caisson/identity";

/** One request from its head to its last byte: who calls, when it must stop, what went wrong. */
export class RequestScope {
  readonly id: string;
  /** Monotonic ms. */
  readonly startedAt: number;
  caller: Caller | undefined;
  /** Address of the peer, which a connection that has gone does not tell any more. */
  remote: string | undefined;
  /** What the caller's token opens; undefined when a key came, which opens all. */
  grant: Grant | undefined;
  /** Epoch that the caller was let in for, on a worker. */
  epoch: number | undefined;
  /** Id of the control plane that it was passed on to. */
  forwardedTo: string | undefined;
  /** What the request failed with; for its log line. */
  failure: CaissonError | undefined;
  readonly #controller = new AbortController();

  constructor(id: string, clock: Clock) {
    this.id = id;
    this.startedAt = clock.monotonic();
  }

  /** Aborted when the client went away or the server closes; the reason is a CaissonError. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** For operations that end with the request. */
  get bound(): { readonly signal: AbortSignal; readonly requestId: string; readonly keyName?: string; readonly epoch?: number } {
    return { signal: this.signal, ...this.unbound };
  }

  /** For operations that go on when the client goes away. */
  get unbound(): { readonly requestId: string; readonly keyName?: string; readonly epoch?: number } {
    return {
      requestId: this.id,
      ...(this.caller === undefined ? {} : { keyName: this.caller.name }),
      ...(this.epoch === undefined ? {} : { epoch: this.epoch }),
    };
  }

  /** Ends what the request does. Does nothing a second time. */
  abort(reason: CaissonError): void {
    if (!this.#controller.signal.aborted) this.#controller.abort(reason);
  }

  /** Tells the request that nobody waits for its answer any more. */
  clientGone(): void {
    this.abort(new CaissonError("cancelled", "The client went away."));
  }
}
