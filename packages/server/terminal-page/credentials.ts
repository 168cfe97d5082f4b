/** What opens the sandbox: a token that came with the address, or a key that was typed. */
export type Credentials = { readonly token: string } | { readonly apiKey: string };

/** Keeps credentials for as long as the tab lives, and nowhere else. */
export class CredentialStore {
  readonly #name: string;

  constructor(sandboxId: string) {
    this.#name = `caisson.credentials.${sandboxId}`;
  }

  /** Those of the address, which is made to tell them no more; else those that the tab has. */
  find(): Credentials | undefined {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (token !== null && token !== "") {
      history.replaceState(null, "", location.pathname);
      return this.keep({ token });
    }
    const kept = sessionStorage.getItem(this.#name);
    return kept === null ? undefined : (JSON.parse(kept) as Credentials);
  }

  keep(credentials: Credentials): Credentials {
    sessionStorage.setItem(this.#name, JSON.stringify(credentials));
    return credentials;
  }

  forget(): void {
    sessionStorage.removeItem(this.#name);
  }
}
