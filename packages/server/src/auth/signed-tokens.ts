import { CaissonError, type Clock } from "@caisson/contract";
import { errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";

/** What a token may open. */
export const TOKEN_ACTIONS = ["exec", "file.read", "file.write", "port"] as const;
export type TokenAction = (typeof TOKEN_ACTIONS)[number];

/** The one thing that a token opens, until its time: for links, browsers and previews, where no key should be. */
export interface Grant {
  readonly action: TokenAction;
  readonly sandboxId: string;
  /** End, in ms since the epoch; whole seconds are kept. */
  readonly expiresAt: number;
  /** The one file, for `file.read` and `file.write`. */
  readonly path?: string;
  /** As whom in the sandbox, for files. */
  readonly user?: string;
  /** The one port, for `port`. */
  readonly port?: number;
}

const claimsSchema = z.strictObject({
  aud: z.enum(TOKEN_ACTIONS),
  sub: z.string(),
  exp: z.int(),
  path: z.string().optional(),
  user: z.string().optional(),
  port: z.int().optional(),
});

/** Signs and checks grants: JSON Web Tokens with HMAC-SHA256, whose key never leaves the server. */
export class SignedTokens {
  readonly #key: Uint8Array;
  readonly #clock: Clock;

  /** `key` has 32 bytes or more. */
  constructor(key: Uint8Array, clock: Clock) {
    this.#key = key;
    this.#clock = clock;
  }

  sign({ action, sandboxId, expiresAt, ...bounds }: Grant): Promise<string> {
    return new SignJWT({ ...bounds })
      .setProtectedHeader({ alg: "HS256" })
      .setAudience(action)
      .setSubject(sandboxId)
      .setExpirationTime(Math.floor(expiresAt / 1000))
      .sign(this.#key);
  }

  /** The grant of a token for one action in one sandbox; `unauthorized` when it is not one, another's, or over. */
  async verify(token: string, action: TokenAction, sandboxId: string): Promise<Grant> {
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        algorithms: ["HS256"],
        audience: action,
        subject: sandboxId,
        requiredClaims: ["exp"],
        currentDate: new Date(this.#clock.now()),
      });
      const { aud, sub, exp, path, user, port } = claimsSchema.parse(payload);
      return {
        action: aud,
        sandboxId: sub,
        expiresAt: exp * 1000,
        ...(path === undefined ? {} : { path }),
        ...(user === undefined ? {} : { user }),
        ...(port === undefined ? {} : { port }),
      };
    } catch (error) {
      const over = error instanceof errors.JWTExpired;
      throw new CaissonError("unauthorized", over ? "The token's time is over." : "The token does not open this.", { cause: error });
    }
  }
}
