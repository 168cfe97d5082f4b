import { createHash } from "node:crypto";
import { sql } from "kysely";
import type { Locks } from "../locks.ts";

/** Of PostgreSQL: advisory locks that end with their transaction, and locks of rows. */
export const POSTGRES_LOCKS: Locks = {
  async named(trx, name) {
    await sql`select pg_advisory_xact_lock(${lockKey(name)}::bigint)`.execute(trx);
  },
  rows: (query, lock) => (lock === "share" ? query.forShare() : lock === "claim" ? query.forUpdate().skipLocked() : query.forUpdate()),
};

/** The number of a name, among 2^64: two names have the same one by no chance that matters, and then only wait for each other. */
export function lockKey(name: string): string {
  return createHash("sha256").update(`caisson ${name}`).digest().readBigInt64BE(0).toString();
}
