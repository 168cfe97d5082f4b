import { CaissonError } from "@caisson/contract";

/** Longest token, proof or nonce that is looked at, in characters. */
export const MAX_PRESENTED = 4_096;

/** Why a credential is not taken, for programs; `detail.reason` of the error. */
export type RefusalReason =
  | "missing"
  | "malformed"
  | "unknown_token"
  | "wrong_worker"
  | "reserved_id"
  | "own_token_needed"
  | "registered_elsewhere"
  | "removed"
  | "revoked"
  | "expired"
  | "not_yet"
  | "other_issuer"
  | "wrong_audience"
  | "wrong_algorithm"
  | "wrong_type"
  | "unknown_key"
  | "bad_signature"
  | "proof_missing"
  | "proof_invalid"
  | "nonce_invalid"
  | "nonce_expired"
  | "nonce_used"
  | "key_mismatch"
  | "certificate_mismatch"
  | "invitation_used"
  | "refresh_reused";

/** The error `unauthorized` with a reason for programs. The message tells no secret. */
export function refused(
  reason: RefusalReason,
  message: string,
  { cause, workerId }: { readonly cause?: unknown; /** Whose credential it was. */ readonly workerId?: string } = {},
): CaissonError {
  return new CaissonError("unauthorized", message, {
    cause,
    detail: { reason, ...(workerId === undefined ? {} : { worker_id: workerId }) },
  });
}

/** The reason of a refusal; undefined for other errors. */
export function reasonOf(error: unknown): string | undefined {
  const reason = error instanceof CaissonError ? error.detail?.["reason"] : undefined;
  return typeof reason === "string" ? reason : undefined;
}
