import { CaissonError } from "@caisson/contract";
import type { RequestScope } from "./request-scope.ts";

/** Requests being answered, so that a closing server can end them in order: the long ones at once, all at the deadline. */
export class LiveRequests {
  readonly #all = new Set<RequestScope>();
  readonly #long = new Set<RequestScope>();
  #closing = false;
  #onIdle: (() => void) | undefined;

  get closing(): boolean {
    return this.#closing;
  }

  add(scope: RequestScope, kind: "short" | "long"): void {
    this.#all.add(scope);
    if (kind === "long") this.#long.add(scope);
  }

  delete(scope: RequestScope): void {
    this.#all.delete(scope);
    this.#long.delete(scope);
    if (this.#all.size === 0) this.#onIdle?.();
  }

  /** Resolves when the last byte of every answer is out, or its connection gone. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve;
      if (this.#all.size === 0) resolve();
    });
  }

  /** Refuses what comes from now on and ends what could last. */
  beginClose(): void {
    this.#closing = true;
    for (const scope of this.#long) scope.abort(shuttingDown());
  }

  /** Ends what is left. */
  endAll(): void {
    for (const scope of this.#all) scope.abort(shuttingDown());
  }
}

/** The error of requests that a closing server ends or refuses. */
export function shuttingDown(): CaissonError {
  return new CaissonError("shutting_down", "The server is shutting down; sandboxes and their processes go on.", { retryAfter: 2 });
}
