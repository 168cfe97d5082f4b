import { CaissonError } from "@caisson/contract";
import type { RequestScope } from "./request-scope.ts";

/** Requests being answered, so that a closing server can end them in order: the long ones at once, all at the deadline. */
export class LiveRequests {
  readonly #all = new Set<RequestScope>();
  readonly #long = new Set<RequestScope>();
  #closing = false;

  get closing(): boolean {
    return this.#closing;
  }

  /** How many requests are being answered. */
  get size(): number {
    return this.#all.size;
  }

  add(scope: RequestScope, kind: "short" | "long"): void {
    this.#all.add(scope);
    if (kind === "long") this.#long.add(scope);
  }

  delete(scope: RequestScope): void {
    this.#all.delete(scope);
    this.#long.delete(scope);
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
