import type { Renewal, Scope } from "@caisson/contract";

/** A control plane that dialled this worker and was let in. */
export interface AdmittedControlPlane {
  readonly scopes: ReadonlySet<Scope>;
}

/** How links that are up are told of a token that came after the one that opened them. */
export interface Renewals {
  /** Times that the token was replaced since this process began. */
  readonly count: number;
  /** The present token with a proof over a control plane's nonce. */
  prove(nonce: string): Promise<Renewal>;
}

/** What a worker shows to be itself, and how it knows its control planes. */
export interface WorkerCredentialSource {
  readonly workerId: string;
  /** `token`: a shared or static token; `registered`: a key of its own, with a certificate and tokens that are renewed. */
  readonly kind: "token" | "registered";
  /**
   * Headers of an upgrade request. A registered worker needs a nonce: the first request of a link has none, and its 401 brings
   * one in `X-Link-Nonce`.
   */
  headers(nonce: string | undefined): Promise<Readonly<Record<string, string>>>;
  /** Undefined for tokens of the configuration, which have no end. */
  readonly renewals: Renewals | undefined;
  /** Client certificate and key for TLS, PEM; undefined where it has none. */
  clientCertificate(): { readonly cert: string; readonly key: string } | undefined;
  /** Certificates to trust besides the machine's for `https` control planes, PEM. */
  caCertificates(): readonly string[];
  /**
   * Called when a control plane answered 401 or 403 to complete credentials: gets others where that is possible. `gone`: they
   * are refused for good, and only a person can help. Rejects when nobody could be asked.
   */
  refused(signal?: AbortSignal): Promise<"refreshed" | "gone">;
  /** A nonce for a control plane that dialled this worker, for `X-Link-Nonce` of the 401. */
  challenge(): string;
  /** Lets a control plane in that showed this bearer token; `unauthorized` when it is not one of this worker's. */
  admit(token: string): Promise<AdmittedControlPlane>;
  /** Headers of the `101` to a control plane that dialled, over the nonce it sent in `X-Link-Nonce`. */
  answer(nonce: string): Promise<Readonly<Record<string, string>>>;
  /** Takes the public keys of a heartbeat reply; kept across restarts. */
  learnKeys(keys: { readonly keys: readonly Record<string, unknown>[] }): Promise<void>;
}
