import type {
  AddWorker,
  RefreshWorker,
  RegisterWorker,
  Renewal,
  RotatedKeys,
  RotateKeys,
  Scope,
  WorkerCredential,
  WorkerCredentials,
  WorkerInvitation,
} from "@caisson/contract";

/** What someone shows who says to be a worker. */
export interface PresentedCredential {
  /** `Authorization: Bearer`: a shared or static token, or the JSON Web Token of a registered worker. */
  readonly token: string;
  /** Id it says to have (`X-Worker-ID`); needed with a shared token, else checked against what the credential says. */
  readonly workerId?: string;
  /** Proof that it holds the private key of its certificate (`X-Worker-Proof`); needed with a JSON Web Token. */
  readonly proof?: string;
  /** Client certificate of the TLS connection, DER, where one came. */
  readonly certificate?: Uint8Array;
}

/** What a control plane shows a worker that it dials. */
export interface LinkIntroduction {
  /** Headers of the upgrade request; without the worker's nonce they only ask for one. */
  readonly headers: Readonly<Record<string, string>>;
  /** The nonce among them, which the worker's answer must prove. */
  readonly nonce: string;
}

/** What a worker that was dialled shows with its `101`. */
export interface LinkAnswer {
  /** `X-Worker-ID`. */
  readonly workerId: string | undefined;
  /** `X-Worker-Proof`: over the nonce, by the key of its certificate, or by its shared or static token. */
  readonly proof: string | undefined;
  /** `X-Worker-Token`: its JSON Web Token; absent where it has a shared or static token. */
  readonly token: string | undefined;
  /** Certificate that it showed as a TLS server, DER, where one came. */
  readonly certificate?: Uint8Array;
}

/** A worker whose credential was right. */
export interface WorkerIdentity {
  readonly workerId: string;
  readonly credential: Exclude<WorkerCredential, "local">;
  readonly tenantId: string | null;
  readonly scopes: ReadonlySet<Scope>;
  /** Thumbprint of the key that it is bound to; null for shared and static ones. */
  readonly keyThumbprint: string | null;
  /** When the credential ends, in ms since the Unix epoch; null for static ones. A link is ended then, unless it was shown a newer one. */
  readonly expiresAt: number | null;
  /** When it was issued; what was issued before a revocation is refused. Null for static ones. */
  readonly issuedAt: number | null;
  /** Key of the installation that signed its token, which is good no longer than that key; null for shared and static ones. */
  readonly keyId: string | null;
}

/**
 * Who is a worker. Every failure is `unauthorized` with a message that says what was wrong and tells no secret, and a
 * `detail.reason` for programs. A credential that was right belongs to its worker alone: it opens nothing of another one.
 */
export interface WorkerIdentities {
  /** Makes a one-time token. `already_exists` for the id of a worker that is registered and not removed. */
  invite(request: AddWorker): Promise<WorkerInvitation>;
  /** Uses up a one-time token. The answer may be lost: the same token and key pair again, until it was confirmed, is answered anew. */
  register(request: RegisterWorker): Promise<WorkerCredentials>;
  /**
   * Issues the next token, certificate and refresh token. The old refresh token stays good until its worker was seen with what
   * was issued last. A refresh token that was revoked is refused, reported (`worker.refused`), and revokes its whole family.
   */
  refresh(request: RefreshWorker): Promise<WorkerCredentials>;
  /** Checks what was shown; confirms the newest refresh token of a worker that shows what came with it. */
  verify(presented: PresentedCredential): Promise<WorkerIdentity>;
  /**
   * Checks what is shown on a link that was opened by `identity`: as `verify` does, over a nonce of `challenge`, and it must be of
   * the same worker, key and tenant.
   */
  renew(identity: WorkerIdentity, renewal: Renewal): Promise<WorkerIdentity>;
  /** A nonce for a worker that is to prove who it is, for `X-Link-Nonce` of the 401 or a renewal: good for a minute, on every control plane, once. */
  challenge(): Promise<string>;
  /** What to show a worker that is dialled. The first attempt has no nonce of the worker's; its 401 brings one (`X-Link-Nonce`). */
  introduce(workerId: string, nonce: string | undefined): Promise<LinkIntroduction>;
  /** Checks what a worker showed that was dialled, against the nonce of the introduction. */
  verifyAnswer(workerId: string, nonce: string, answer: LinkAnswer): Promise<WorkerIdentity>;
  /** Public keys with which workers check control planes, and tokens of clients that come to them directly. */
  publicKeys(): Promise<{ readonly keys: readonly Record<string, unknown>[] }>;
  /**
   * Gives the installation another key to sign with. `immediately`: what was signed with those before is refused from now on, here
   * at once and on every control plane within a minute, and workers renew what they hold; else it runs out by itself.
   */
  rotateKeys(request: RotateKeys): Promise<RotatedKeys>;
  /** Refuses everything that was issued to a worker until now. Effective at the next call of `stillGood` on any control plane. */
  revoke(workerId: string): Promise<void>;
  /** Whether an identity that was verified before is good now; asked with every heartbeat. */
  stillGood(identity: WorkerIdentity): Promise<boolean>;
}
