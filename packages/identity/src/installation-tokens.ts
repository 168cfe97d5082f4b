import type { Clock } from "@caisson/contract";
import { signAccess, type SandboxAccess } from "./access-tokens.ts";
import { CheckedGrants, SignedGrants } from "./grant-tokens.ts";
import type { Grant, GrantSigner, GrantVerifier, TokenAction } from "./grant.ts";
import type { LegacyGrants } from "./legacy-grants.ts";
import type { SigningKeys } from "./signing-keys.ts";
import { publicKeySet, SigningKeySet, type SigningKey } from "./signing-key.ts";

/** What a control plane signs and checks tokens of clients with. */
export interface InstallationTokensOptions {
  readonly keys: SigningKeys;
  readonly clock: Pick<Clock, "now">;
  /** Links of the time before the installation had public keys. */
  readonly legacy?: LegacyGrants;
}

/** Tokens for clients, of a control plane: it signs them, and checks those that come to itself. */
export class InstallationTokens implements GrantSigner, GrantVerifier {
  readonly #key: SigningKey;
  readonly #signed: SignedGrants;
  readonly #checked: CheckedGrants;

  constructor({ keys, clock, legacy }: InstallationTokensOptions) {
    const set = new SigningKeySet(publicKeySet(keys));
    this.#key = keys[0];
    this.#signed = new SignedGrants(keys[0]);
    this.#checked = new CheckedGrants({ keys: () => set, clock, ...(legacy === undefined ? {} : { legacy }) });
  }

  sign(grant: Grant): Promise<string> {
    return this.#signed.sign(grant);
  }

  verify(token: string, action: TokenAction, sandboxId: string): Promise<Grant> {
    return this.#checked.verify(token, action, sandboxId);
  }

  /** Lets a client do its work in one sandbox on the worker itself. */
  signAccess(access: SandboxAccess): Promise<string> {
    return signAccess(this.#key, access);
  }
}
