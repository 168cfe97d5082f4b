import type { WorkerCredential, WorkerState } from "@caisson/contract";

/** What a worker's credentials are judged by. Times are ms since the Unix epoch. */
export interface WorkerStanding {
  readonly state: WorkerState;
  readonly tenantId: string | null;
  /** How it last showed who it is; null until it did, and after it was added anew. */
  readonly credential: WorkerCredential | null;
  /** What was issued until then is refused; null when nothing was revoked. */
  readonly revokedBefore: number | null;
  /** Whether an admin added it anew after that: shared and static tokens, which have no time, are taken again. */
  readonly readmitted: boolean;
}

/** A one-time token to keep: not the token, its hash. */
export interface NewInvitation {
  readonly id: string;
  /** Null: the worker names itself. */
  readonly workerId: string | null;
  readonly tenantId: string | null;
  readonly hash: string;
  readonly ttlMs: number;
}

/** A refresh token to keep: not the token, its hash. */
export interface NewRefreshToken {
  readonly id: string;
  readonly hash: string;
  readonly ttlMs: number;
}

/** A registration to write down. */
export interface NewRegistration {
  /** Hash of the one-time token. */
  readonly hash: string;
  /** Id that the worker wants. */
  readonly workerId: string | undefined;
  /** Whether it may have that id by its own choice, too: false for ids that the configuration knows. */
  readonly mayChoose: boolean;
  /** Thumbprint of the worker's key. */
  readonly keyThumbprint: string;
  readonly refreshToken: NewRefreshToken;
}

/** A worker for which credentials are to be issued. */
export interface Issued {
  readonly kind: "issued";
  readonly workerId: string;
  /** Later than its last revocation. */
  readonly issuedAt: number;
  readonly refreshExpiresAt: number;
}

/** What became of a registration. */
export type RegistrationOutcome =
  | Issued
  | { readonly kind: "unknown" }
  | { readonly kind: "expired" }
  /** Another key used the token, or its worker was seen already with what it got. */
  | { readonly kind: "used"; readonly workerId: string }
  | { readonly kind: "id_missing" }
  | { readonly kind: "other_id"; readonly workerId: string }
  | { readonly kind: "id_taken"; readonly workerId: string };

/** What became of a refresh. */
export type RefreshOutcome =
  | Issued
  | { readonly kind: "unknown" }
  | { readonly kind: "expired"; readonly workerId: string }
  | { readonly kind: "removed"; readonly workerId: string }
  | { readonly kind: "revoked"; readonly workerId: string }
  | { readonly kind: "key_mismatch"; readonly workerId: string }
  /** The token was replaced before, and its successor was in use: one of the two was stolen. Everything of the worker is revoked now. */
  | { readonly kind: "reused"; readonly workerId: string };
