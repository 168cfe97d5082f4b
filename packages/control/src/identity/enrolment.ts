import {
  CaissonError,
  LOCAL_WORKER_ID,
  parseDuration,
  type AddWorker,
  type Random,
  type RefreshWorker,
  type RegisterWorker,
  type WorkerCredentials,
  type WorkerInvitation,
} from "@caisson/contract";
import { hashSecret, newSecret, readSigningRequest, refused } from "@caisson/identity";
import type { Issued, NewRefreshToken, RefreshOutcome, RegistrationOutcome, WorkerIdentityRepository } from "@caisson/store";
import { REFRESH_MS, type CredentialIssuer } from "./credential-issuer.ts";
import type { KnownTokens } from "./known-tokens.ts";
import type { RefusalReports } from "./refusal-reports.ts";

const HOUR_MS = 3_600_000;
/** Longest life of an invitation, in ms. */
const MAX_INVITATION_MS = 24 * HOUR_MS;

export interface EnrolmentParts {
  readonly store: WorkerIdentityRepository;
  readonly issuer: CredentialIssuer;
  readonly known: KnownTokens;
  readonly reports: RefusalReports;
  readonly random: Random;
}

/** How a worker comes to hold credentials, and to the next ones. */
export class Enrolment {
  readonly #parts: EnrolmentParts;

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
  }

  async invite({ id, tenant_id: tenantId, token_ttl: ttl }: AddWorker): Promise<WorkerInvitation> {
    const ttlMs = ttl === undefined ? HOUR_MS : (parseDuration(ttl) ?? HOUR_MS);
    if (ttlMs > MAX_INVITATION_MS) {
      const message = "is longer than 24h";
      throw new CaissonError("invalid_request", `token_ttl ${message}.`, { errors: [{ path: "token_ttl", message }] });
    }
    if (id === LOCAL_WORKER_ID) throw reserved();
    const token = newSecret("cwi", this.#parts.random);
    const expiresAt = await this.#parts.store.invite({
      id: this.#id(),
      workerId: id ?? null,
      tenantId: tenantId ?? null,
      hash: hashSecret(token),
      ttlMs,
    });
    if (expiresAt === undefined)
      throw new CaissonError("already_exists", `The worker ${id} is there; revoke or remove it before it can join again.`);
    return { worker_id: id ?? null, token, expires_at: new Date(expiresAt).toISOString() };
  }

  async register({ token, worker_id: workerId, csr }: RegisterWorker): Promise<WorkerCredentials> {
    const { known, store, issuer, reports } = this.#parts;
    const request = await readSigningRequest(csr);
    if (workerId === LOCAL_WORKER_ID) throw reserved();
    const refresh = this.#refreshToken();
    const outcome = await store.register({
      hash: hashSecret(token),
      workerId,
      mayChoose: workerId === undefined || !known.hasOwn(workerId),
      keyThumbprint: request.thumbprint,
      refreshToken: refresh.kept,
    });
    if (outcome.kind === "issued") return issuer.issue(outcome, request, { id: refresh.kept.id, token: refresh.token });
    const refusal = registrationRefusal(outcome);
    return outcome.kind === "used" ? reports.watch(outcome.workerId, () => Promise.reject(refusal)) : Promise.reject(refusal);
  }

  async refresh({ refresh_token: token, csr }: RefreshWorker): Promise<WorkerCredentials> {
    const { store, issuer, reports } = this.#parts;
    const request = await readSigningRequest(csr);
    const refresh = this.#refreshToken();
    const outcome = await store.refresh(hashSecret(token), request.thumbprint, refresh.kept);
    if (outcome.kind === "issued") return issuer.issue(outcome, request, { id: refresh.kept.id, token: refresh.token });
    const refusal = refreshRefusal(outcome);
    return outcome.kind === "unknown" ? Promise.reject(refusal) : reports.watch(outcome.workerId, () => Promise.reject(refusal));
  }

  #refreshToken(): { readonly token: string; readonly kept: NewRefreshToken } {
    const token = newSecret("cwr", this.#parts.random);
    return { token, kept: { id: this.#id(), hash: hashSecret(token), ttlMs: REFRESH_MS } };
  }

  #id(): string {
    return Buffer.from(this.#parts.random.bytes(16)).toString("hex");
  }
}

function registrationRefusal(outcome: Exclude<RegistrationOutcome, Issued>): CaissonError {
  switch (outcome.kind) {
    case "unknown":
      return refused("unknown_token", "No invitation has this token.");
    case "expired":
      return refused("expired", "The invitation is over; ask an admin for a new one: caisson workers add.");
    case "used":
      return refused("invitation_used", `The invitation was used already, by the worker ${outcome.workerId}; ask an admin for a new one.`);
    case "id_missing": {
      const message = "is needed: the invitation names no worker";
      return new CaissonError("invalid_request", `worker_id ${message}.`, { errors: [{ path: "worker_id", message }] });
    }
    case "other_id":
      return refused("wrong_worker", `The invitation is for the worker ${outcome.workerId}.`);
    case "id_taken":
      return new CaissonError(
        "already_exists",
        `There is a worker ${outcome.workerId} already; only an invitation by this id lets another machine be it.`,
      );
    default:
      return outcome satisfies never;
  }
}

function refreshRefusal(outcome: Exclude<RefreshOutcome, Issued>): CaissonError {
  switch (outcome.kind) {
    case "unknown":
      return refused("unknown_token", "No worker has this refresh token.");
    case "expired":
      return refused("expired", `The refresh token of the worker ${outcome.workerId} is over; it must join again.`);
    case "removed":
      return refused("removed", `The worker ${outcome.workerId} was removed; an admin must add it again.`);
    case "revoked":
      return refused("revoked", `The worker ${outcome.workerId} was revoked; an admin must add it again.`);
    case "key_mismatch":
      return refused("key_mismatch", "The signing request is not of the key that the refresh token belongs to.");
    case "reused":
      return refused(
        "refresh_reused",
        `The refresh token was replaced before: two have used it, so everything of the worker ${outcome.workerId} is revoked; it must join again.`,
      );
    default:
      return outcome satisfies never;
  }
}

function reserved(): CaissonError {
  return new CaissonError("already_exists", "The id local is the worker inside the server; choose another.");
}
