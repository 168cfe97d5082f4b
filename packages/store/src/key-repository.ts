import type { Kysely } from "kysely";
import { z } from "zod";
import type { Tables } from "./tables.ts";

/** What a key may do. */
export type KeyRole = "api" | "admin";

const roleSchema: z.ZodType<KeyRole> = z.enum(["api", "admin"]);

/** An API key as it is kept. */
export interface ApiKeyRecord {
  readonly id: string;
  readonly name: string;
  readonly role: KeyRole;
  /** SHA-256 of the secret, hex. */
  readonly hash: string;
  readonly createdAt: number;
}

/** API keys. */
export class KeyRepository {
  readonly #db: Kysely<Tables>;

  constructor(db: Kysely<Tables>) {
    this.#db = db;
  }

  /** Writes a key; one with the same id is replaced. */
  async put(key: ApiKeyRecord): Promise<void> {
    const row = { id: key.id, name: key.name, role: key.role, hash: key.hash, created_at: key.createdAt };
    await this.#db
      .insertInto("api_keys")
      .values(row)
      .onConflict((conflict) => conflict.column("id").doUpdateSet(row))
      .execute();
  }

  /** Writes a key unless there is one with the same id, and returns the one that is there then. */
  async putFirst(key: ApiKeyRecord): Promise<ApiKeyRecord> {
    await this.#db
      .insertInto("api_keys")
      .values({ id: key.id, name: key.name, role: key.role, hash: key.hash, created_at: key.createdAt })
      .onConflict((conflict) => conflict.column("id").doNothing())
      .execute();
    const row = await this.#db.selectFrom("api_keys").selectAll().where("id", "=", key.id).executeTakeFirst();
    return row === undefined ? key : decode(row);
  }

  /** The key with this hash. */
  async find(hash: string): Promise<ApiKeyRecord | undefined> {
    const row = await this.#db.selectFrom("api_keys").selectAll().where("hash", "=", hash).executeTakeFirst();
    return row === undefined ? undefined : decode(row);
  }

  /** All keys, oldest first. */
  async list(): Promise<readonly ApiKeyRecord[]> {
    return (await this.#db.selectFrom("api_keys").selectAll().orderBy("created_at").orderBy("id").execute()).map(decode);
  }

  /** Removes a key; whether there was one. */
  async remove(id: string): Promise<boolean> {
    const result = await this.#db.deleteFrom("api_keys").where("id", "=", id).executeTakeFirst();
    return result.numDeletedRows > 0n;
  }
}

function decode(row: Tables["api_keys"]): ApiKeyRecord {
  return { id: row.id, name: row.name, role: roleSchema.parse(row.role), hash: row.hash, createdAt: row.created_at };
}
