import type { Kysely } from "kysely";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** One run of a control plane's process. */
export interface ControlPlaneRecord {
  readonly id: string;
  /** Where workers and others reach it; empty when they cannot. */
  readonly url: string;
  readonly build: string;
}

/** Control planes that share the database and are alive. */
export class ControlPlaneRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;

  constructor(db: Kysely<Tables>, clock: StoreClock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** Says that a control plane is alive, removes those that have not said so for `deadMs`, and returns the rest, by id. */
  async keepAlive(self: ControlPlaneRecord, deadMs: number): Promise<readonly ControlPlaneRecord[]> {
    const now = this.#clock.now();
    await this.#db
      .insertInto("control_planes")
      .values({ ...self, started_at: now, last_seen_at: now })
      .onConflict((conflict) => conflict.column("id").doUpdateSet({ url: self.url, build: self.build, last_seen_at: now }))
      .execute();
    await this.#db
      .deleteFrom("control_planes")
      .where("last_seen_at", "<", now - deadMs)
      .execute();
    return this.#db.selectFrom("control_planes").select(["id", "url", "build"]).orderBy("id").execute();
  }

  /** A control plane has ended. */
  async remove(id: string): Promise<void> {
    await this.#db.deleteFrom("control_planes").where("id", "=", id).execute();
  }
}
