import type { Kysely } from "kysely";
import { changeSandbox, type SandboxChange } from "./change-sandbox.ts";
import type { WriteParts } from "./engine.ts";
import { listSandboxes, type SandboxFilter, type SandboxPage } from "./list-sandboxes.ts";
import { findRepeated, reserveSandbox, type Idempotency, type Reservation, type ReserveSandbox } from "./reserve-sandbox.ts";
import { decodeSandbox, type SandboxRecord } from "./sandbox-record.ts";
import type { Tables } from "./tables.ts";

/** Sandboxes and idempotency keys. Every write names the version it read and tells whether it won. */
export class SandboxRepository {
  readonly #db: Kysely<Tables>;
  readonly #parts: WriteParts;

  constructor(db: Kysely<Tables>, parts: WriteParts) {
    this.#db = db;
    this.#parts = parts;
  }

  /** Makes a sandbox in state `creating`, with its lease and key, if the limit and the key allow it. One transaction. */
  reserve(request: ReserveSandbox): Promise<Reservation> {
    return reserveSandbox(this.#db, request, this.#parts);
  }

  /** What an Idempotency-Key that was used before answers; undefined when it is new. */
  repeated(idempotency: Idempotency): Promise<Extract<Reservation, { kind: "repeated" | "key_conflict" }> | undefined> {
    return findRepeated(this.#db, idempotency, this.#parts.clock.now());
  }

  /** One sandbox, ended or not. */
  async get(id: string): Promise<SandboxRecord | undefined> {
    const row = await this.#db.selectFrom("sandboxes").selectAll().where("id", "=", id).executeTakeFirst();
    return row === undefined ? undefined : decodeSandbox(row);
  }

  /** A page, newest first, and the cursor of the next one. */
  list(filter: SandboxFilter): Promise<SandboxPage> {
    return listSandboxes(this.#db, filter);
  }

  /**
   * Writes a change if the sandbox still has this version: state, lease epoch and event in one transaction.
   * The new record, or undefined when somebody else was first. With `seen`, the record of that version, its row is not read back.
   */
  apply(id: string, version: number, change: SandboxChange, seen?: SandboxRecord): Promise<SandboxRecord | undefined> {
    return changeSandbox(this.#db, { id, version, seen }, change, this.#parts);
  }

  /** Sets the time to live from now, fenced like `apply`. */
  extend(id: string, version: number, ttlMs: number): Promise<SandboxRecord | undefined> {
    const { clock, events } = this.#parts;
    return this.#db.transaction().execute(async (trx) => {
      const now = clock.now();
      const row = await trx
        .updateTable("sandboxes")
        .set((set) => ({ version: set("version", "+", 1), updated_at: now, expires_at: now + ttlMs }))
        .where("id", "=", id)
        .where("version", "=", version)
        .where("ended_at", "is", null)
        .returningAll()
        .executeTakeFirst();
      if (row === undefined) return undefined;
      const data = { expires_at: new Date(row.expires_at).toISOString() };
      await events.append(trx, now, { type: "sandbox.extended", resourceId: id, sandboxId: id, data });
      return decodeSandbox(row);
    });
  }
}
