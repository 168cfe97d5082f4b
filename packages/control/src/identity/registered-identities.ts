import {
  CaissonError,
  LINK_HEADERS,
  LOCAL_WORKER_ID,
  type AddWorker,
  type Random,
  type RefreshWorker,
  type RegisterWorker,
  type Renewal,
  type RotatedKeys,
  type RotateKeys,
  type WorkerCredentials,
  type WorkerInvitation,
} from "@caisson/contract";
import {
  certificateKeyThumbprint,
  certificateThumbprint,
  checkNonce,
  keyIdOf,
  LINK_NONCE_MS,
  newNonce,
  refused,
  signControlToken,
  verifyProof,
  verifyWorkerToken,
  type PublicKeySet,
  type WorkerToken,
} from "@caisson/identity";
import type { Store, StoreClock } from "@caisson/store";
import type { Logger } from "../logger.ts";
import type { LinkAnswer, LinkIntroduction, PresentedCredential, WorkerIdentities, WorkerIdentity } from "../workers/worker-identities.ts";
import { ClusterKeys } from "./cluster-keys.ts";
import { CredentialIssuer, TOKEN_MS } from "./credential-issuer.ts";
import { Enrolment } from "./enrolment.ts";
import { KnownTokens, type ConfiguredTokens } from "./known-tokens.ts";
import { RefusalReports } from "./refusal-reports.ts";

/** What JSON Web Tokens look like; no token that we make for the configuration does. */
const SIGNED = /^eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*$/;

export interface RegisteredIdentitiesOptions {
  readonly store: Pick<Store, "workerIdentities" | "clusterSecrets" | "events">;
  /** The store's clock: no other one says what is over. */
  readonly clock: StoreClock;
  readonly random: Random;
  readonly tokens: ConfiguredTokens;
  /** Life of a registered worker's token, in ms. Default: a week. */
  readonly tokenMs?: number;
  readonly logger: Logger;
}

/** A worker's token, and the key that signed it. */
type ReadToken = WorkerToken & Pick<WorkerIdentity, "keyId">;

/** Workers by tokens of the configuration, and by credentials of their own that are kept in the store. Holds no state that another control plane would need. */
export class RegisteredIdentities implements WorkerIdentities {
  /** Keys of the installation, for whoever else signs or checks tokens. */
  readonly keys: ClusterKeys;
  readonly #options: RegisteredIdentitiesOptions;
  readonly #known: KnownTokens;
  readonly #reports: RefusalReports;
  readonly #enrolment: Enrolment;

  constructor(options: RegisteredIdentitiesOptions) {
    const { store, clock, random, tokens, logger } = options;
    this.#options = options;
    this.keys = new ClusterKeys(store.clusterSecrets, clock, random);
    this.#known = new KnownTokens(tokens, store.workerIdentities);
    this.#reports = new RefusalReports(store.events, clock, logger);
    const issuer = new CredentialIssuer(this.keys, random, options.tokenMs ?? TOKEN_MS);
    this.#enrolment = new Enrolment({ store: store.workerIdentities, issuer, known: this.#known, reports: this.#reports, random });
  }

  invite(request: AddWorker): Promise<WorkerInvitation> {
    return this.#enrolment.invite(request);
  }

  register(request: RegisterWorker): Promise<WorkerCredentials> {
    return this.#enrolment.register(request);
  }

  refresh(request: RefreshWorker): Promise<WorkerCredentials> {
    return this.#enrolment.refresh(request);
  }

  async verify(presented: PresentedCredential): Promise<WorkerIdentity> {
    const { token, workerId, proof, certificate } = presented;
    if (!SIGNED.test(token)) return this.#verifyKnown(workerId, () => this.#known.verify(workerId, token));
    const signed = await this.#readToken(token);
    return this.#reports.watch(signed.workerId, async () => {
      if (workerId !== undefined && workerId !== signed.workerId)
        throw refused("wrong_worker", `The token belongs to the worker ${signed.workerId}, and was shown as one of ${workerId}.`);
      const identity = await this.#identify(signed);
      if (proof === undefined)
        throw refused(
          "proof_missing",
          "The token needs a proof that its worker holds the key (X-Worker-Proof), over the nonce of X-Link-Nonce.",
        );
      const nonce = await this.#provenNonce(proof, signed);
      checkNonce(await this.keys.nonceKey(), nonce, this.#options.clock.now());
      await checkCertificate(certificate, signed);
      if (!(await this.#options.store.workerIdentities.useNonce(nonce, 2 * LINK_NONCE_MS)))
        throw refused("nonce_used", "The proof was used before; ask for a new nonce.");
      await this.#options.store.workerIdentities.confirm(signed.refreshId);
      return identity;
    });
  }

  async renew(identity: WorkerIdentity, renewal: Renewal): Promise<WorkerIdentity> {
    const { workerId, keyThumbprint, tenantId } = identity;
    const next = await this.verify({ ...renewal, workerId });
    return this.#reports.watch(workerId, async () => {
      // The link's own certificate was checked against that key.
      if (next.keyThumbprint === null || next.keyThumbprint !== keyThumbprint)
        throw refused("key_mismatch", "The token is bound to another key than the one that opened the link.");
      if (next.tenantId !== tenantId)
        throw refused("wrong_worker", `The worker ${workerId} was of another tenant when it opened the link.`);
      return next;
    });
  }

  async challenge(): Promise<string> {
    return newNonce(await this.keys.nonceKey(), this.#options.clock.now(), this.#options.random);
  }

  async introduce(workerId: string, nonce: string | undefined): Promise<LinkIntroduction> {
    const own = Buffer.from(this.#options.random.bytes(24)).toString("base64url");
    const headers = { [LINK_HEADERS.workerId]: workerId, [LINK_HEADERS.nonce]: own };
    if (nonce === undefined) return { headers, nonce: own };
    if (nonce.length > 256) throw new CaissonError("protocol_error", "The worker's nonce is longer than 256 characters.");
    const [key, issuer] = await Promise.all([this.keys.signingKey(), this.keys.issuer()]);
    const token = await signControlToken(key, { issuer, workerId, nonce, now: this.#options.clock.now() });
    return { headers: { ...headers, authorization: `Bearer ${token}` }, nonce: own };
  }

  async verifyAnswer(workerId: string, nonce: string, answer: LinkAnswer): Promise<WorkerIdentity> {
    const { proof, token } = answer;
    if (answer.workerId !== workerId) throw refused("wrong_worker", `The worker ${workerId} was dialled, and another one answered.`);
    if (proof === undefined) throw refused("proof_missing", `The worker ${workerId} answered without a proof of who it is.`);
    if (token === undefined) return this.#verifyKnown(workerId, () => this.#known.verifyAnswer(workerId, nonce, proof));
    const signed = await this.#readToken(token);
    return this.#reports.watch(signed.workerId, async () => {
      if (signed.workerId !== workerId)
        throw refused("wrong_worker", `The worker ${workerId} was dialled, and showed the token of ${signed.workerId}.`);
      const identity = await this.#identify(signed);
      if ((await this.#provenNonce(proof, signed)) !== nonce)
        throw refused("nonce_invalid", "The proof is over another nonce than was sent.");
      await checkCertificate(answer.certificate, signed);
      await this.#options.store.workerIdentities.confirm(signed.refreshId);
      return identity;
    });
  }

  publicKeys(): Promise<PublicKeySet> {
    return this.keys.publicKeys();
  }

  async rotateKeys({ immediately = false }: RotateKeys): Promise<RotatedKeys> {
    const { store, logger } = this.#options;
    const { keyId, signsAt, othersUntil } = await (immediately ? this.keys.replace() : this.keys.rotate());
    const rotated = { key_id: keyId, signs_at: new Date(signsAt).toISOString(), others_until: new Date(othersUntil).toISOString() };
    logger.info({ ...rotated, immediately }, "the keys that sign were rotated");
    const resourceId = await this.keys.installation();
    await store.events.add({ type: "installation.keys_rotated", resourceId, sandboxId: null, data: { ...rotated, immediately } });
    return rotated;
  }

  async revoke(workerId: string): Promise<void> {
    if (workerId === LOCAL_WORKER_ID) throw new CaissonError("forbidden", "The worker inside the server has no credentials to revoke.");
    if (!(await this.#options.store.workerIdentities.revoke(workerId)))
      throw new CaissonError("worker_not_found", `There is no worker ${workerId}.`);
  }

  async stillGood(identity: WorkerIdentity): Promise<boolean> {
    if (identity.credential !== "certificate") return this.#known.stillGood(identity);
    const standing = await this.#options.store.workerIdentities.standing(identity.workerId);
    if (standing === undefined || standing.state === "removed") return false;
    if (identity.expiresAt !== null && identity.expiresAt <= this.#options.clock.now()) return false;
    if (identity.keyId !== null && !(await this.keys.verifies(identity.keyId))) return false;
    return standing.revokedBefore === null || (identity.issuedAt ?? 0) > standing.revokedBefore;
  }

  /** Refusals of the shared token count against the worker that was named; those of an unknown token are nobody's. */
  #verifyKnown(workerId: string | undefined, check: () => Promise<WorkerIdentity>): Promise<WorkerIdentity> {
    return workerId === undefined ? check() : this.#reports.watch(workerId, check);
  }

  async #readToken(token: string): Promise<ReadToken> {
    const keyId = keyIdOf(token);
    const keys = await this.keys.verifyingKeys(keyId);
    const read = await verifyWorkerToken(token, keys, { issuer: await this.keys.issuer(), now: this.#options.clock.now() });
    return { ...read, keyId: keyId ?? null };
  }

  async #identify(signed: ReadToken): Promise<WorkerIdentity> {
    const { workerId, keyThumbprint, issuedAt, expiresAt, keyId } = signed;
    const standing = await this.#options.store.workerIdentities.standing(workerId);
    if (standing === undefined || standing.state === "removed")
      throw refused("removed", `The worker ${workerId} was removed; an admin must add it again.`);
    if (standing.revokedBefore !== null && issuedAt <= standing.revokedBefore)
      throw refused("revoked", `What was issued to the worker ${workerId} was revoked.`);
    const { tenantId } = standing;
    return { workerId, credential: "certificate", tenantId, scopes: new Set(signed.scopes), keyThumbprint, expiresAt, issuedAt, keyId };
  }

  /** The nonce of a proof that the token's own worker made, for this installation. */
  async #provenNonce(proof: string, signed: WorkerToken): Promise<string> {
    const { nonce, aud, wid } = await verifyProof(proof, signed.keyThumbprint);
    if (aud !== signed.issuer) throw refused("wrong_audience", "The proof was made for another installation.");
    if (wid !== signed.workerId) throw refused("wrong_worker", "The proof was made for another worker.");
    return nonce;
  }
}

/** A worker that renews its credentials may show a certificate and a token that came one after the other: of the same key they are as good. */
async function checkCertificate(certificate: Uint8Array | undefined, signed: WorkerToken): Promise<void> {
  if (certificate === undefined || certificateThumbprint(certificate) === signed.certificateThumbprint) return;
  if ((await certificateKeyThumbprint(certificate)) !== signed.keyThumbprint)
    throw refused("certificate_mismatch", "The certificate of the connection is not the one that the token is bound to.");
}
