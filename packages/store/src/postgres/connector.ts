import type { Clock } from "@caisson/contract";
import type { Dsn } from "./parse-dsn.ts";
import { Session } from "./session.ts";

/** Makes sessions with whichever host of an address can be written to, beginning with the one that could last. */
export class Connector {
  readonly #dsn: Dsn;
  readonly #clock: Clock;
  #first = 0;

  constructor(dsn: Dsn, clock: Clock) {
    this.#dsn = dsn;
    this.#clock = clock;
  }

  /** Rejects with `database_unavailable` when no host serves. */
  async open(statementMs: number): Promise<Session> {
    const { targets } = this.#dsn;
    const begin = this.#first;
    let failure: unknown;
    for (let i = 0; i < targets.length; i += 1) {
      const at = (begin + i) % targets.length;
      const target = targets[at];
      if (target === undefined) continue;
      try {
        const session = await Session.open(target, { clock: this.#clock, statementMs });
        this.#first = at;
        return session;
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }
}
