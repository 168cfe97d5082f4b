/** What a token may open. */
export const TOKEN_ACTIONS = ["exec", "file.read", "file.write", "port"] as const;
export type TokenAction = (typeof TOKEN_ACTIONS)[number];

/** The one thing that a token opens, until its time: for links, browsers and previews, where no key should be. */
export interface Grant {
  readonly action: TokenAction;
  readonly sandboxId: string;
  /** End, in ms since the Unix epoch; whole seconds are kept. */
  readonly expiresAt: number;
  /** The one file, for `file.read` and `file.write`. */
  readonly path?: string;
  /** As whom in the sandbox, for files. */
  readonly user?: string;
  /** The one port, for `port`. */
  readonly port?: number;
}

/** Checks tokens that open one thing. */
export interface GrantVerifier {
  /** The grant of a token for one action in one sandbox; `unauthorized` when it is not one, another's, or over. */
  verify(token: string, action: TokenAction, sandboxId: string): Promise<Grant>;
}

/** Makes tokens that open one thing. */
export interface GrantSigner {
  sign(grant: Grant): Promise<string>;
}
