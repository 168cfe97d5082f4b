import { WORKER_CREDENTIALS, WORKER_STATES, type WorkerState } from "@caisson/contract";
import type { Kysely, Transaction } from "kysely";
import { z } from "zod";
import type { EventRepository } from "./event-repository.ts";
import { lockWorker, type LockedWorker } from "./lock-worker.ts";
import {
  REMEMBERED_MS,
  confirmToken,
  findToken,
  forgetRevoked,
  holdsCredentials,
  holdsFamily,
  issueToken,
  revokeTokens,
  wasReplaced,
  wasUsed,
} from "./refresh-tokens.ts";
import type { StoreClock } from "./store-clock.ts";
import type { Tables } from "./tables.ts";
import type {
  NewInvitation,
  NewRefreshToken,
  NewRegistration,
  RefreshOutcome,
  RegistrationOutcome,
  WorkerStanding,
} from "./worker-identity-record.ts";
import { encodeWorker, newWorker } from "./worker-record.ts";

const stateSchema = z.enum(WORKER_STATES);
const credentialSchema = z.enum(WORKER_CREDENTIALS).nullable();

type Trx = Transaction<Tables>;

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
        const used = await wasUsed(trx, family);
        const removed = worker === undefined || worker.state === "removed";
        if (removed || used || invitation.key_thumbprint !== keyThumbprint) return { kind: "used", workerId };
      } else if (invitation.expires_at <= now) return { kind: "expired" };
      if (wanted !== undefined && wanted !== workerId) return { kind: "other_id", workerId };
      if (invitation.used_at === null) {
        const taken = !mayChoose || (worker !== undefined && worker.state !== "removed");
        if (invitation.worker_id === null && taken) return { kind: "id_taken", workerId };
        await this.#admit(trx, workerId, tenantId, worker, now);
        await forgetRevoked(trx, workerId, now);
        await trx
          .updateTable("worker_invitations")
          .set({ used_at: now, used_by: workerId, key_thumbprint: keyThumbprint })
          .where("id", "=", family)
          .execute();
      }
      await trx.updateTable("workers").set({ credential: "certificate", updated_at: now }).where("id", "=", workerId).execute();
      const after = worker?.revoked_before ?? null;
      return issueToken(trx, refreshToken, { workerId, family, keyThumbprint, parentId: null, now, after });
    });
  }

  /** Writes the successor of a refresh token. Using one confirms it; see `confirm`. */
  refresh(hash: string, keyThumbprint: string, next: NewRefreshToken): Promise<RefreshOutcome> {
    return this.#db.transaction().execute(async (trx): Promise<RefreshOutcome> => {
      const now = this.#clock.now();
      const found = await findToken(trx, "hash", hash);
      if (found === undefined) return { kind: "unknown" };
      const { worker_id: workerId } = found;
      const worker = await lockWorker(trx, workerId);
      const token = await findToken(trx, "hash", hash);
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
      await confirmToken(trx, token, now);
      const of = { workerId, family: token.family, keyThumbprint, parentId: token.id, now, after: worker.revoked_before };
      return issueToken(trx, next, of);
    });
  }

  /** A worker was seen with what was issued beside a refresh token: what came before it is revoked. Does nothing the second time. */
  async confirm(tokenId: string): Promise<void> {
    const seen = await findToken(this.#db, "id", tokenId);
    if (seen === undefined || seen.confirmed_at !== null || seen.revoked_at !== null) return;
    await this.#db.transaction().execute(async (trx) => {
      await lockWorker(trx, seen.worker_id);
      const token = await findToken(trx, "id", tokenId);
      if (token !== undefined && token.revoked_at === null) await confirmToken(trx, token, this.#clock.now());
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

  /** Makes a worker known, or a removed one known again. */
  async #admit(trx: Trx, id: string, tenantId: string | null, worker: LockedWorker | undefined, now: number): Promise<void> {
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
    await revokeTokens(trx, workerId, now);
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
