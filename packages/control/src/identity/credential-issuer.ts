import { SCOPES, type Random, type WorkerCredentials } from "@caisson/contract";
import { issueCertificate, signWorkerToken, type SigningRequest } from "@caisson/identity";
import type { Issued } from "@caisson/store";
import type { ClusterKeys } from "./cluster-keys.ts";

const DAY_MS = 86_400_000;
/** Life of a token where nothing else is asked for, in ms. */
export const TOKEN_MS: number = 7 * DAY_MS;
/** By how much longer a certificate is good, in ms: it never ends a link before its token does. */
const CERTIFICATE_LONGER_MS = DAY_MS;

/** Life of a refresh token, in ms. */
export const REFRESH_MS: number = 60 * DAY_MS;

/** Certificates and tokens of registered workers. */
export class CredentialIssuer {
  readonly #keys: ClusterKeys;
  readonly #random: Random;
  readonly #tokenMs: number;

  /** Tokens are good for `tokenMs`. */
  constructor(keys: ClusterKeys, random: Random, tokenMs: number) {
    this.#keys = keys;
    this.#random = random;
    this.#tokenMs = tokenMs;
  }

  /** Issues what a worker holds, beside a refresh token that was written already. */
  async issue(
    issued: Issued,
    request: SigningRequest,
    refresh: { readonly id: string; readonly token: string },
  ): Promise<WorkerCredentials> {
    const { workerId, issuedAt, refreshExpiresAt } = issued;
    // It lasts for days, so it is not to be of keys that were replaced a moment ago.
    this.#keys.forget();
    // Of what is replaced it comes last: once it is the new one, so is the authority that is read after it.
    const signingKey = await this.#keys.signingKey();
    const [installation, issuer, authority] = await Promise.all([this.#keys.installation(), this.#keys.issuer(), this.#keys.authority()]);
    const certificate = await issueCertificate(authority, {
      publicKey: request.publicKey,
      installation,
      workerId,
      now: issuedAt,
      ttlMs: this.#tokenMs + CERTIFICATE_LONGER_MS,
    });
    const expiresAt = issuedAt + this.#tokenMs;
    const token = await signWorkerToken(signingKey, {
      issuer,
      workerId,
      scopes: SCOPES,
      id: Buffer.from(this.#random.bytes(16)).toString("hex"),
      refreshId: refresh.id,
      keyThumbprint: request.thumbprint,
      certificateThumbprint: certificate.thumbprint,
      issuedAt,
      expiresAt,
    });
    const iso = (time: number): string => new Date(time).toISOString();
    return {
      worker_id: workerId,
      token,
      token_expires_at: iso(expiresAt),
      refresh_token: refresh.token,
      refresh_expires_at: iso(refreshExpiresAt),
      certificate: certificate.certificate,
      certificate_expires_at: iso(certificate.expiresAt),
      ca_certificate: authority.certificate,
      scopes: [...SCOPES],
      issuer,
      keys: { keys: [...(await this.#keys.publicKeys()).keys] },
    };
  }
}
