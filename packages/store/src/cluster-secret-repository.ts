import type { Kysely } from "kysely";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";

/** Keys that all control planes of an installation share. They are kept as they are: they sign. */
export class ClusterSecretRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;

  constructor(db: Kysely<Tables>, clock: StoreClock) {
    this.#db = db;
    this.#clock = clock;
  }

  /** A secret by its name; undefined when it was never made. */
  async get(name: string): Promise<string | undefined> {
    return (await this.#db.selectFrom("cluster_secrets").select("value").where("name", "=", name).executeTakeFirst())?.value;
  }

  /**
   * A secret by its name, made now when there is none. Several may make one at once: the first to write it wins, and all of
   * them get that one.
   */
  async getOrMake(name: string, make: () => string | Promise<string>): Promise<string> {
    const known = await this.get(name);
    if (known !== undefined) return known;
    const row = { name, value: await make(), created_at: this.#clock.now() };
    await this.#db
      .insertInto("cluster_secrets")
      .values(row)
      .onConflict((conflict) => conflict.column("name").doNothing())
      .execute();
    return (await this.get(name)) ?? row.value;
  }

  /** Puts another value in place of the one that was read; false when it is not there any more. */
  async replace(name: string, before: string, value: string): Promise<boolean> {
    const result = await this.#db
      .updateTable("cluster_secrets")
      .set({ value })
      .where("name", "=", name)
      .where("value", "=", before)
      .executeTakeFirst();
    return result.numUpdatedRows > 0n;
  }
}
