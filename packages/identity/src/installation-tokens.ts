import type { Clock } from "@caisson/contract";
import { signAccess, type SandboxAccess } from "./access-tokens.ts";
import { CheckedGrants, SignedGrants } from "./grant-tokens.ts";
import type { Grant, GrantSigner, GrantVerifier, TokenAction } from "./grant.ts";
import type { LegacyGrants } from "./legacy-grants.ts";
import type { SigningKeySource } from "./signing-keys.ts";

/** What a control plane signs and checks tokens of clients with. */
export interface InstallationTokensOptions {
  readonly keys: SigningKeySource;
  readonly clock: Pick<Clock, "now">;
  /** Links of the time before the installation had public keys. */
  readonly legacy?: Pick<LegacyGrants, "verify">;
}

/** Tokens for clients, of a control plane: it signs them, and checks those that come to itself. */
export class InstallationTokens implements GrantSigner, GrantVerifier {
  readonly #keys: SigningKeySource;
  readonly #checked: CheckedGrants;

  constructor({ keys, clock, legacy }: InstallationTokensOptions) {
    this.#keys = keys;
    this.#checked = new CheckedGrants({ keys: (wanted) => keys.verifyingKeys(wanted), clock, ...(legacy === undefined ? {} : { legacy }) });
  }

  async sign(grant: Grant): Promise<string> {
    return new SignedGrants(await this.#keys.signingKey()).sign(grant);
  }

  verify(token: string, action: TokenAction, sandboxId: string): Promise<Grant> {
    return this.#checked.verify(token, action, sandboxId);
  }

  /** Lets a client do its work in one sandbox on the worker itself. */
  async signAccess(access: SandboxAccess): Promise<string> {
    return signAccess(await this.#keys.signingKey(), access);
  }
}
