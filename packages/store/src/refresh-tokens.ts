import type { Kysely, Selectable, SelectQueryBuilder, Transaction } from "kysely";
import type { Tables, WorkerRefreshTokenTable } from "./tables.ts";
import type { Issued, NewRefreshToken } from "./worker-identity-record.ts";

/** How long used and expired tokens are remembered, so that their reuse can be told from nonsense, in ms. */
export const REMEMBERED_MS: number = 30 * 86_400_000;
/** Most answers to one refresh token of which none was seen in use. */
const MAX_UNCONFIRMED = 4;

/** All that is written here is written while the row of its worker is locked. */
type Trx = Transaction<Tables>;
type TokenRow = Selectable<WorkerRefreshTokenTable>;

/** For whom a refresh token is. */
export interface TokenHolder {
  readonly workerId: string;
  /** Id of the invitation that all its tokens come from. */
  readonly family: string;
  readonly keyThumbprint: string;
  /** The token that was used for it; null for the first one. */
  readonly parentId: string | null;
  readonly now: number;
  /** Time of the last revocation. */
  readonly after: number | null;
}

/** One token by its id or by its hash. */
export function findToken(db: Kysely<Tables>, by: "id" | "hash", value: string): Promise<TokenRow | undefined> {
  return db.selectFrom("worker_refresh_tokens").selectAll().where(by, "=", value).executeTakeFirst();
}

/** Writes a token, and forgets the oldest of those of its family that nobody was seen with. */
export async function issueToken(trx: Trx, token: NewRefreshToken, of: TokenHolder): Promise<Issued> {
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

/** A token was seen in use: all else of its family is good no more. Does nothing the second time. */
export async function confirmToken(trx: Trx, token: TokenRow, now: number): Promise<void> {
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

/** Takes all tokens of a worker back. */
export async function revokeTokens(trx: Trx, workerId: string, now: number): Promise<void> {
  await trx
    .updateTable("worker_refresh_tokens")
    .set({ revoked_at: now })
    .where("worker_id", "=", workerId)
    .where("revoked_at", "is", null)
    .execute();
}

/** Forgets what was taken back from a worker long ago. */
export async function forgetRevoked(trx: Trx, workerId: string, now: number): Promise<void> {
  await trx
    .deleteFrom("worker_refresh_tokens")
    .where("worker_id", "=", workerId)
    .where("revoked_at", "<", now - REMEMBERED_MS)
    .execute();
}

/** Whether a token of a family was seen in use or taken back. */
export function wasUsed(trx: Trx, family: string): Promise<boolean> {
  return someToken(trx, (tokens) =>
    tokens
      .where("family", "=", family)
      .where((where) => where.or([where("confirmed_at", "is not", null), where("revoked_at", "is not", null)])),
  );
}

/** Whether a worker holds credentials that are in use and good. */
export function holdsCredentials(trx: Trx, workerId: string, now: number): Promise<boolean> {
  return someToken(trx, (tokens) =>
    tokens
      .where("worker_id", "=", workerId)
      .where("revoked_at", "is", null)
      .where("confirmed_at", "is not", null)
      .where("expires_at", ">", now),
  );
}

/** Whether a token of a family was not taken back. */
export function holdsFamily(trx: Trx, family: string): Promise<boolean> {
  return someToken(trx, (tokens) => tokens.where("family", "=", family).where("revoked_at", "is", null));
}

/** Whether a successor of a token was in use. */
export function wasReplaced(trx: Trx, token: TokenRow): Promise<boolean> {
  return someToken(trx, (tokens) => tokens.where("parent_id", "=", token.id).where("confirmed_at", "is not", null));
}

type Tokens = SelectQueryBuilder<Tables, "worker_refresh_tokens", { id: string }>;

async function someToken(trx: Trx, such: (tokens: Tokens) => Tokens): Promise<boolean> {
  const found = await such(trx.selectFrom("worker_refresh_tokens").select("id")).executeTakeFirst();
  return found !== undefined;
}
