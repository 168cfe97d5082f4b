import { WORKER_CREDENTIALS, WORKER_STATES, type WorkerState } from "@caisson/contract";
import type { Kysely, Selectable, Transaction } from "kysely";
import { z } from "zod";
import type { EventRepository } from "./event-repository.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables, WorkerRefreshTokenTable, WorkerTable } from "./tables.ts";
import type {
  Issued,
  NewInvitation,
  NewRefreshToken,
  NewRegistration,
  RefreshOutcome,
  RegistrationOutcome,
  WorkerStanding,
} from "./worker-identity-record.ts";
import { encodeWorker, newWorker } from "./worker-record.ts";

/** How long used and expired tokens are remembered, so that their reuse can be told from nonsense, in ms. */
const REMEMBERED_MS = 30 * 86_400_000;
/** Most answers to one refresh token of which none was seen in use. */
const MAX_UNCONFIRMED = 4;

const stateSchema = z.enum(WORKER_STATES);
const credentialSchema = z.enum(WORKER_CREDENTIALS).nullable();

type Trx = Transaction<Tables>;
type TokenRow = Selectable<WorkerRefreshTokenTable>;

/**
 * Who may be a worker: one-time tokens, refresh tokens, revocations, used nonces. All changes that concern one worker take the
 * lock of its row first, so that they happen one after the other on every database.
 */
export class WorkerIdentityRepository {
  readonly #db: Kysely<Tables>;
  readonly #clock: StoreClock;
  readonly #events: EventRepository;

  constructor(db: Kysely<Tables>, clock: StoreClock, events: EventRepository) {
    this.#db = db;
    this.#clock = clock;
    this.#events = events;
  }

  /** What a worker's credentials are judged by; undefined for one that never was. */
  async standing(workerId: string): Promise<WorkerStanding | undefined> {
    const row = await this.#db
      .selectFrom("workers")
      .select(["state", "tenant_id", "credential", "revoked_before"])
      .where("id", "=", workerId)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    return {
      state: stateSchema.parse(row.state),
      tenantId: row.tenant_id,
      credential: credentialSchema.parse(row.credential),
      revokedBefore: row.revoked_before,
      readmitted: row.revoked_before === null || (await this.#invitedSince(workerId, row.revoked_before)),
    };
  }

  /** Remembers a nonce until its time is over; false when it is remembered already. */
  async useNonce(nonce: string, ttlMs: number): Promise<boolean> {
    const now = this.#clock.now();
    await this.#db.deleteFrom("used_nonces").where("expires_at", "<", now).execute();
    const result = await this.#db
      .insertInto("used_nonces")
      .values({ nonce, expires_at: now + ttlMs })
      .onConflict((conflict) => conflict.column("nonce").doNothing())
      .executeTakeFirst();
    return (result.numInsertedOrUpdatedRows ?? 0n) > 0n;
  }

  /**
   * Writes an invitation; returns when it ends. One for a worker by id makes that worker known (`pending`), takes a removed one
   * in again, and replaces older ones for it. `undefined`: that worker is registered, and neither
   * revoked nor removed, or it is the one inside a server.
   */
  invite(invitation: NewInvitation): Promise<number | undefined> {
    const { workerId, tenantId } = invitation;
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      await trx
        .deleteFrom("worker_invitations")
        .where("expires_at", "<", now - REMEMBERED_MS)
        .execute();
      if (workerId !== null) {
        const worker = await lockWorker(trx, workerId);
        const present = worker !== undefined && worker.state !== "removed";
        if (present && (worker.credential === "local" || (await holdsCredentials(trx, workerId, now)))) return undefined;
        await this.#admit(trx, workerId, tenantId, worker, now);
        await trx.deleteFrom("worker_invitations").where("worker_id", "=", workerId).where("used_at", "is", null).execute();
      }
      const expiresAt = now + invitation.ttlMs;
      const { id, hash } = invitation;
      const unused = { used_at: null, used_by: null, key_thumbprint: null };
      await trx
        .insertInto("worker_invitations")
        .values({ id, worker_id: workerId, tenant_id: tenantId, hash, created_at: now, expires_at: expiresAt, ...unused })
        .execute();
      return expiresAt;
    });
  }

  /** Uses up a one-time token, or repeats its use by the same key as long as its worker was not seen with what it got. */
  register({ hash, workerId: wanted, mayChoose, keyThumbprint, refreshToken }: NewRegistration): Promise<RegistrationOutcome> {
    return this.#db.transaction().execute(async (trx): Promise<RegistrationOutcome> => {
      const now = this.#clock.now();
      // Writing nothing takes the row's lock.
      const invitation = await trx
        .updateTable("worker_invitations")
        .set((set) => ({ hash: set.ref("hash") }))
        .where("hash", "=", hash)
        .returningAll()
        .executeTakeFirst();
      if (invitation === undefined) return { kind: "unknown" };
      const workerId = invitation.used_by ?? invitation.worker_id ?? wanted;
      if (workerId === undefined) return { kind: "id_missing" };
      const worker = await lockWorker(trx, workerId);
      const { id: family, tenant_id: tenantId } = invitation;
      if (invitation.used_at !== null) {
        const confirmed = await trx
          .selectFrom("worker_refresh_tokens")
          .select("id")
          .where("family", "=", family)
          .where((where) => where.or([where("confirmed_at", "is not", null), where("revoked_at", "is not", null)]))
          .executeTakeFirst();
        const removed = worker === undefined || worker.state === "removed";
        if (removed || confirmed !== undefined || invitation.key_thumbprint !== keyThumbprint) return { kind: "used", workerId };
      } else if (invitation.expires_at <= now) return { kind: "expired" };
      if (wanted !== undefined && wanted !== workerId) return { kind: "other_id", workerId };
      if (invitation.used_at === null) {
        const taken = !mayChoose || (worker !== undefined && worker.state !== "removed");
        if (invitation.worker_id === null && taken) return { kind: "id_taken", workerId };
        await this.#admit(trx, workerId, tenantId, worker, now);
        await trx
          .deleteFrom("worker_refresh_tokens")
          .where("worker_id", "=", workerId)
          .where("revoked_at", "<", now - REMEMBERED_MS)
          .execute();
        await trx
          .updateTable("worker_invitations")
          .set({ used_at: now, used_by: workerId, key_thumbprint: keyThumbprint })
          .where("id", "=", family)
          .execute();
      }
      await trx.updateTable("workers").set({ credential: "certificate", updated_at: now }).where("id", "=", workerId).execute();
      const after = worker?.revoked_before ?? null;
      return this.#issue(trx, refreshToken, { workerId, family, keyThumbprint, parentId: null, now, after });
    });
  }

  /** Writes the successor of a refresh token. Using one confirms it; see `confirm`. */
  refresh(hash: string, keyThumbprint: string, next: NewRefreshToken): Promise<RefreshOutcome> {
    return this.#db.transaction().execute(async (trx): Promise<RefreshOutcome> => {
      const now = this.#clock.now();
      const find = (): Promise<TokenRow | undefined> =>
        trx.selectFrom("worker_refresh_tokens").selectAll().where("hash", "=", hash).executeTakeFirst();
      const found = await find();
      if (found === undefined) return { kind: "unknown" };
      const { worker_id: workerId } = found;
      const worker = await lockWorker(trx, workerId);
      const token = await find();
      if (worker === undefined || token === undefined) return { kind: "unknown" };
      if (worker.state === "removed") return { kind: "removed", workerId };
      // Who lacks the key never was this worker: what he shows says nothing about who else has it, and takes nothing away.
      if (token.key_thumbprint !== keyThumbprint) return { kind: "key_mismatch", workerId };
      if (token.revoked_at !== null) {
        if (!(await wasReplaced(trx, token))) return { kind: "revoked", workerId };
        // Whoever comes with it now is not who went on with its successor.
        if (await holdsFamily(trx, token.family)) {
          await this.#revokeAll(trx, workerId, now);
          const data = { reason: "refresh_reused", revoked: true };
          await this.#events.append(trx, now, { type: "worker.refused", resourceId: workerId, sandboxId: null, data });
        }
        return { kind: "reused", workerId };
      }
      if (token.expires_at <= now) return { kind: "expired", workerId };
      await this.#confirm(trx, token, now);
      const of = { workerId, family: token.family, keyThumbprint, parentId: token.id, now, after: worker.revoked_before };
      return this.#issue(trx, next, of);
    });
  }

  /** A worker was seen with what was issued beside a refresh token: what came before it is revoked. Does nothing the second time. */
  async confirm(tokenId: string): Promise<void> {
    const find = (db: Kysely<Tables>): Promise<TokenRow | undefined> =>
      db.selectFrom("worker_refresh_tokens").selectAll().where("id", "=", tokenId).executeTakeFirst();
    const seen = await find(this.#db);
    if (seen === undefined || seen.confirmed_at !== null || seen.revoked_at !== null) return;
    await this.#db.transaction().execute(async (trx) => {
      await lockWorker(trx, seen.worker_id);
      const token = await find(trx);
      if (token !== undefined && token.revoked_at === null) await this.#confirm(trx, token, this.#clock.now());
    });
  }

  /** Refuses everything that was issued to a worker until now; false when there is no such worker. */
  revoke(workerId: string): Promise<boolean> {
    return this.#db.transaction().execute(async (trx) => {
      const now = this.#clock.now();
      if ((await lockWorker(trx, workerId)) === undefined) return false;
      await this.#revokeAll(trx, workerId, now);
      await this.#events.append(trx, now, { type: "worker.revoked", resourceId: workerId, sandboxId: null, data: {} });
      return true;
    });
  }

  async #confirm(trx: Trx, token: TokenRow, now: number): Promise<void> {
    if (token.confirmed_at !== null) return;
    await trx.updateTable("worker_refresh_tokens").set({ confirmed_at: now }).where("id", "=", token.id).execute();
    const others = trx.deleteFrom("worker_refresh_tokens").where("family", "=", token.family).where("id", "!=", token.id);
    // Answers that got lost were never in anybody's use.
    await others.where("confirmed_at", "is", null).execute();
    await trx
      .updateTable("worker_refresh_tokens")
      .set({ revoked_at: now })
      .where("family", "=", token.family)
      .where("id", "!=", token.id)
      .where("revoked_at", "is", null)
      .execute();
    await others.where("revoked_at", "<", now - REMEMBERED_MS).execute();
  }

  async #issue(
    trx: Trx,
    token: NewRefreshToken,
    of: {
      readonly workerId: string;
      readonly family: string;
      readonly keyThumbprint: string;
      readonly parentId: string | null;
      readonly now: number;
      /** Time of the last revocation. */
      readonly after: number | null;
    },
  ): Promise<Issued> {
    const { workerId, family, keyThumbprint, parentId, now, after } = of;
    const unconfirmed = await trx
      .selectFrom("worker_refresh_tokens")
      .select("id")
      .where("family", "=", family)
      .where("confirmed_at", "is", null)
      .orderBy("created_at", "desc")
      .execute();
    const old = unconfirmed.slice(MAX_UNCONFIRMED - 1).map(({ id }) => id);
    if (old.length > 0) await trx.deleteFrom("worker_refresh_tokens").where("id", "in", old).execute();
    const refreshExpiresAt = now + token.ttlMs;
    await trx
      .insertInto("worker_refresh_tokens")
      .values({
        id: token.id,
        worker_id: workerId,
        family,
        hash: token.hash,
        key_thumbprint: keyThumbprint,
        parent_id: parentId,
        created_at: now,
        expires_at: refreshExpiresAt,
        confirmed_at: null,
        revoked_at: null,
      })
      .execute();
    return { kind: "issued", workerId, issuedAt: after === null ? now : Math.max(now, after + 1), refreshExpiresAt };
  }

  /** Makes a worker known, or a removed one known again. */
  async #admit(trx: Trx, id: string, tenantId: string | null, worker: WorkerRow | undefined, now: number): Promise<void> {
    const tell = (): Promise<void> =>
      this.#events.append(trx, now, { type: "worker.added", resourceId: id, sandboxId: null, data: { tenant_id: tenantId } });
    if (worker === undefined) {
      await trx
        .insertInto("workers")
        .values(encodeWorker({ ...newWorker(id, now), tenantId }))
        .execute();
      return tell();
    }
    const again = worker.state === "removed";
    if (again) await this.#revokeAll(trx, id, now);
    await trx
      .updateTable("workers")
      .set((set) => ({
        tenant_id: tenantId,
        version: set("version", "+", 1),
        updated_at: now,
        ...(again ? { state: "pending" satisfies WorkerState, credential: null, admin_drain: 0, self_drain: 0 } : {}),
      }))
      .where("id", "=", id)
      .execute();
    if (again) await tell();
  }

  async #revokeAll(trx: Trx, workerId: string, now: number): Promise<void> {
    await trx
      .updateTable("workers")
      .set((set) => ({ revoked_before: now, version: set("version", "+", 1), updated_at: now }))
      .where("id", "=", workerId)
      .execute();
    await trx
      .updateTable("worker_refresh_tokens")
      .set({ revoked_at: now })
      .where("worker_id", "=", workerId)
      .where("revoked_at", "is", null)
      .execute();
  }

  async #invitedSince(workerId: string, time: number): Promise<boolean> {
    const found = await this.#db
      .selectFrom("worker_invitations")
      .select("id")
      .where("worker_id", "=", workerId)
      .where("created_at", ">=", time)
      .executeTakeFirst();
    return found !== undefined;
  }
}

type WorkerRow = Pick<Selectable<WorkerTable>, "state" | "credential" | "revoked_before">;

/** Takes the lock of a worker's row until the transaction ends: writing nothing does that on every database. */
function lockWorker(trx: Trx, id: string): Promise<WorkerRow | undefined> {
  return trx
    .updateTable("workers")
    .set((set) => ({ version: set.ref("version") }))
    .where("id", "=", id)
    .returning(["state", "credential", "revoked_before"])
    .executeTakeFirst();
}

/** Whether a worker holds credentials that are in use and good. */
async function holdsCredentials(trx: Trx, workerId: string, now: number): Promise<boolean> {
  const found = await trx
    .selectFrom("worker_refresh_tokens")
    .select("id")
    .where("worker_id", "=", workerId)
    .where("revoked_at", "is", null)
    .where("confirmed_at", "is not", null)
    .where("expires_at", ">", now)
    .executeTakeFirst();
  return found !== undefined;
}

async function holdsFamily(trx: Trx, family: string): Promise<boolean> {
  const found = await trx
    .selectFrom("worker_refresh_tokens")
    .select("id")
    .where("family", "=", family)
    .where("revoked_at", "is", null)
    .executeTakeFirst();
  return found !== undefined;
}

/** Whether a successor of a token was in use. */
async function wasReplaced(trx: Trx, token: TokenRow): Promise<boolean> {
  const found = await trx
    .selectFrom("worker_refresh_tokens")
    .select("id")
    .where("parent_id", "=", token.id)
    .where("confirmed_at", "is not", null)
    .executeTakeFirst();
  return found !== undefined;
}
