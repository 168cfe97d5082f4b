import { CaissonError, isCaissonError, LINK_HEADERS, toCaissonError, type Clock, type Renewal, type Timer } from "@caisson/contract";
import { makeSigningRequest, signProof, tokenLifeMs } from "@caisson/identity";
import { askControlPlane } from "./ask-control-plane.ts";
import { credentialsOf } from "./join.ts";
import { IdentityFiles, type JoinedIdentity } from "./joined-identity.ts";
import type { KnownControlPlanes } from "./known-control-planes.ts";
import type { AdmittedControlPlane, Renewals, WorkerCredentialSource } from "./worker-credential-source.ts";

/** Time from one failed renewal to the next attempt, in ms. */
const RETRY_MS = 300_000;
/** Longest sleep before the age of the credentials is looked at again, in ms: timers take no more than 24 days. */
const LOOK_MS = 3_600_000;

export interface RegisteredSourceOptions {
  /** Folder of this worker's identity. */
  readonly dir: string;
  readonly identity: JoinedIdentity;
  readonly known: KnownControlPlanes;
  /** Certificates to trust besides the machine's and the installation's, PEM. */
  readonly caCertificates: readonly string[];
  /** Control planes that may be asked, the best first. */
  readonly urls: () => readonly string[];
  readonly clock: Clock;
  readonly log: (level: "info" | "warn", message: string, fields: Readonly<Record<string, unknown>>) => void;
}

/**
 * The identity of a worker that joined. It is renewed at half the token's life, and whenever a control plane refuses it. What
 * is on disk is never older than what was shown: a crash at any moment leaves credentials that get the next ones. Times of this
 * machine's clock are compared only with one another, so it does not matter how wrong it is.
 */
export class RegisteredSource implements WorkerCredentialSource, Renewals, Disposable {
  readonly kind = "registered";
  readonly renewals: Renewals = this;
  readonly #options: RegisteredSourceOptions;
  readonly #files: IdentityFiles;
  readonly #ended = new AbortController();
  #identity: JoinedIdentity;
  #count = 0;
  #shown: string | undefined;
  #renewing: Promise<"refreshed" | "gone"> | undefined;
  #timer: Timer | undefined;

  private constructor(options: RegisteredSourceOptions) {
    this.#options = options;
    this.#files = new IdentityFiles(options.dir);
    this.#identity = options.identity;
  }

  /** Begins to keep the identity fresh, until it is disposed of. */
  static async open(options: RegisteredSourceOptions): Promise<RegisteredSource> {
    const source = new RegisteredSource(options);
    if (options.known.empty) await options.known.learn(options.identity.credentials.keys);
    source.#schedule();
    return source;
  }

  get workerId(): string {
    return this.#identity.credentials.worker_id;
  }

  async headers(nonce: string | undefined): Promise<Readonly<Record<string, string>>> {
    const { token } = this.#identity.credentials;
    this.#shown = token;
    return {
      authorization: `Bearer ${token}`,
      [LINK_HEADERS.workerId]: this.workerId,
      ...(nonce === undefined ? {} : { [LINK_HEADERS.proof]: await this.#prove(nonce) }),
    };
  }

  get count(): number {
    return this.#count;
  }

  async prove(nonce: string): Promise<Renewal> {
    const { token } = this.#identity.credentials;
    this.#shown = token;
    return { token, proof: await this.#prove(nonce) };
  }

  clientCertificate(): { readonly cert: string; readonly key: string } {
    return { cert: this.#identity.credentials.certificate, key: this.#identity.key };
  }

  caCertificates(): readonly string[] {
    return [...this.#options.caCertificates, this.#identity.credentials.ca_certificate];
  }

  async refused(signal?: AbortSignal): Promise<"refreshed" | "gone"> {
    if (this.#shown !== undefined && this.#identity.credentials.token !== this.#shown) return "refreshed";
    const renewed = this.#renew();
    return signal === undefined ? renewed : unless(signal, renewed);
  }

  challenge(): string {
    return this.#options.known.challenge();
  }

  admit(token: string): Promise<AdmittedControlPlane> {
    return this.#options.known.admit(token, this.#identity.credentials.issuer);
  }

  async answer(nonce: string): Promise<Readonly<Record<string, string>>> {
    const { token } = this.#identity.credentials;
    this.#shown = token;
    return { [LINK_HEADERS.workerId]: this.workerId, [LINK_HEADERS.token]: token, [LINK_HEADERS.proof]: await this.#prove(nonce) };
  }

  learnKeys(keys: { readonly keys: readonly Record<string, unknown>[] }): Promise<void> {
    return this.#options.known.learn(keys);
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#ended.abort(new CaissonError("shutting_down", "The worker is shutting down."));
  }

  #prove(nonce: string): Promise<string> {
    if (nonce.length === 0 || nonce.length > 256)
      throw new CaissonError("unauthorized", "The control plane sent no nonce, or one that is too long.");
    const { issuer, worker_id: wid } = this.#identity.credentials;
    return signProof(this.#identity.key, { nonce, aud: issuer, wid });
  }

  /** One renewal at a time, whoever asks. */
  #renew(): Promise<"refreshed" | "gone"> {
    this.#renewing ??= this.#refresh().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #refresh(): Promise<"refreshed" | "gone"> {
    // Somebody may have joined anew: what is on disk counts, and what is in memory is old then.
    const kept = await this.#files.joined();
    if (kept !== undefined && kept.credentials.token !== this.#identity.credentials.token) {
      this.#take(kept);
      return "refreshed";
    }
    const { key, credentials, control_plane_url: joinedAt } = this.#identity;
    const csr = await makeSigningRequest(key, this.workerId);
    const urls = [...new Set([...this.#options.urls(), joinedAt])];
    let failure: CaissonError | undefined;
    for (const url of urls) {
      try {
        const answer = await askControlPlane({
          url,
          path: "/workers/refresh",
          body: { refresh_token: credentials.refresh_token, csr },
          ca: this.caCertificates(),
          client: this.clientCertificate(),
          signal: this.#ended.signal,
        });
        const next = { ...this.#identity, credentials: credentialsOf(answer), obtained_at: this.#options.clock.now() };
        if (next.credentials.worker_id !== this.workerId)
          throw new CaissonError("protocol_error", `The control plane's answer is for the worker ${next.credentials.worker_id}.`);
        await this.#files.keep(next);
        this.#take(next);
        await this.#options.known.learn(next.credentials.keys);
        this.#options.log("info", "the worker's credentials were renewed", { expires_at: next.credentials.token_expires_at });
        return "refreshed";
      } catch (error) {
        failure = toCaissonError(error);
        if (isCaissonError(failure, "unauthorized")) {
          this.#options.log("warn", "the worker's credentials were refused for good", { url, reason: failure.message });
          return "gone";
        }
      }
    }
    throw failure ?? new CaissonError("control_unavailable", "No control plane is known.");
  }

  #take(identity: JoinedIdentity): void {
    this.#identity = identity;
    this.#count += 1;
    this.#schedule();
  }

  /** Renews at half the token's life, counted from when it came. */
  #schedule(ms: number = this.#untilDue()): void {
    this.#timer?.cancel();
    if (this.#ended.signal.aborted) return;
    this.#timer = this.#options.clock.schedule(Math.min(ms, LOOK_MS), () => {
      if (this.#untilDue() > 0) return this.#schedule();
      this.#renew().then(
        // Those that were refused for good are told so at the next link; they may be replaced on disk meanwhile.
        (outcome) => outcome === "gone" && this.#schedule(LOOK_MS),
        (error: unknown) => {
          this.#options.log("warn", "the worker's credentials could not be renewed", { reason: toCaissonError(error).message });
          this.#schedule(RETRY_MS);
        },
      );
    });
  }

  #untilDue(): number {
    const { credentials, obtained_at: obtainedAt } = this.#identity;
    const half = (tokenLifeMs(credentials.token) ?? 0) / 2;
    // A clock that was set back makes them young again; the first refusal mends that.
    const age = Math.max(0, this.#options.clock.now() - obtainedAt);
    return Math.max(0, half - age);
  }
}

/** What a promise gives, unless the signal is aborted first. Leaves nothing on the signal, which may live as long as the worker. */
async function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined); // it may fail after it was given up
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = (): void => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
