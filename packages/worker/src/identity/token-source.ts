import { CaissonError, LINK_HEADERS } from "@caisson/contract";
import { linkAnswer } from "@caisson/identity";
import type { KnownControlPlanes } from "./known-control-planes.ts";
import type { AdmittedControlPlane, WorkerCredentialSource } from "./worker-credential-source.ts";

export interface TokenSourceOptions {
  readonly workerId: string;
  /** The shared or static token; asked anew for every connection, so that a file of it can be replaced. */
  readonly readToken: () => Promise<string>;
  readonly known: KnownControlPlanes;
  /** Certificates to trust besides the machine's, PEM. */
  readonly caCertificates: readonly string[];
}

/** The identity of a worker that shows a token of the configuration. */
export class TokenSource implements WorkerCredentialSource {
  readonly kind = "token";
  readonly renewals = undefined;
  readonly #options: TokenSourceOptions;
  #shown: string | undefined;

  constructor(options: TokenSourceOptions) {
    this.#options = options;
  }

  get workerId(): string {
    return this.#options.workerId;
  }

  async headers(): Promise<Readonly<Record<string, string>>> {
    const token = (this.#shown = await this.#options.readToken());
    return { authorization: `Bearer ${token}`, [LINK_HEADERS.workerId]: this.workerId };
  }

  clientCertificate(): undefined {
    return undefined;
  }

  caCertificates(): readonly string[] {
    return this.#options.caCertificates;
  }

  /** Another token in the file since the last one was shown is all that can help. */
  async refused(): Promise<"refreshed" | "gone"> {
    return (await this.#options.readToken()) === this.#shown ? "gone" : "refreshed";
  }

  challenge(): string {
    return this.#options.known.challenge();
  }

  admit(token: string): Promise<AdmittedControlPlane> {
    return this.#options.known.admit(token, undefined);
  }

  async answer(nonce: string): Promise<Readonly<Record<string, string>>> {
    if (nonce.length === 0 || nonce.length > 256)
      throw new CaissonError("unauthorized", "The control plane sent no nonce, or one that is too long.");
    const proof = linkAnswer(await this.#options.readToken(), this.workerId, nonce);
    return { [LINK_HEADERS.workerId]: this.workerId, [LINK_HEADERS.proof]: proof };
  }

  learnKeys(keys: { readonly keys: readonly Record<string, unknown>[] }): Promise<void> {
    return this.#options.known.learn(keys);
  }
}
