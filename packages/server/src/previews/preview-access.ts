import type { IncomingHttpHeaders } from "node:http";
import { CaissonError, isCaissonError } from "@caisson/contract";
import type { Grant } from "@caisson/identity";
import { presentedKeys } from "../auth/authenticate.ts";
import type { PreviewServices } from "./preview-services.ts";
import { previewCookies } from "./preview-cookie.ts";
import type { PreviewTarget } from "./preview-target.ts";

/** Longest key or token that is looked at. */
const MAX_SECRET = 4096;
/** Cookies of ours that are looked at; a page can set more of that name. */
const MAX_COOKIES = 4;
/** How keys that we make begin: one that is not valid any more is still no business of a sandbox. */
const KEY_PREFIX = /^bearer +ca[ak]_/i;

/** Why a request may open a preview. */
export interface PreviewAccess {
  readonly by: "key" | "token" | "cookie" | "public";
  /** What the token in the address opens: it may become a cookie. */
  readonly grant?: Grant;
  /** The Authorization header is a key of ours. */
  readonly ownAuthorization: boolean;
}

/**
 * Whether a request may open a preview: by a key, by the token in its address, by the cookie that such a token became, or
 * because the port is public. Throws `unauthorized`.
 */
export async function previewAccess(
  { keys, tokens, operations }: Pick<PreviewServices, "keys" | "tokens" | "operations">,
  target: PreviewTarget,
  headers: IncomingHttpHeaders,
): Promise<PreviewAccess> {
  let refusal: CaissonError | undefined;
  let ownAuthorization = KEY_PREFIX.test(headers.authorization ?? "");
  let byKey = false;
  for (const { header, key } of presentedKeys(headers)) {
    const known = keys !== undefined && key.length > 0 && key.length <= MAX_SECRET && (await keys.verify(key)) !== undefined;
    if (known && header === "authorization") ownAuthorization = true;
    if (known) byKey = true;
    // An Authorization header that is none of ours is the business of the server in the sandbox.
    else if (header !== "authorization" || ownAuthorization) refusal ??= keyRefusal(header, keys);
  }
  if (byKey && refusal === undefined) return { by: "key", ownAuthorization };
  const verify = async (token: string): Promise<Grant | undefined> => {
    if (token.length > MAX_SECRET) return undefined;
    try {
      const grant = await tokens.verify(token, "port", target.sandboxId);
      if (grant.port === target.port) return grant;
      refusal ??= new CaissonError("unauthorized", "The token opens another port.");
    } catch (error) {
      if (!isCaissonError(error, "unauthorized")) throw error;
      refusal ??= error;
    }
    return undefined;
  };
  if (target.token !== undefined) {
    const grant = await verify(target.token);
    if (grant !== undefined) return { by: "token", grant, ownAuthorization };
  }
  if (fromItsOwnPage(headers)) {
    for (const token of previewCookies(headers.cookie).slice(0, MAX_COOKIES))
      if ((await verify(token)) !== undefined) return { by: "cookie", ownAuthorization };
  }
  // What has ended has nothing to protect; whoever asks for it is told so.
  if ((await operations.portAccess(target.sandboxId, target.port)) !== "private") return { by: "public", ownAuthorization };
  throw refusal ?? new CaissonError("unauthorized", "This preview is private: it needs an API key, or a link made for it.");
}

function keyRefusal(header: string, keys: PreviewServices["keys"]): CaissonError {
  const message =
    keys === undefined ? `A worker takes no key; one came in the header ${header}.` : `The key in the header ${header} is not valid.`;
  return new CaissonError("unauthorized", message, { detail: { header } });
}

/**
 * Whether a cookie may count. Browsers also send it when the page of another preview below the same domain asks, and do not
 * hold back WebSockets at all; a sandbox must not act in the name of who looks at it.
 */
function fromItsOwnPage(headers: IncomingHttpHeaders): boolean {
  const { origin, host = "" } = headers;
  if (origin !== undefined) return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
  const site = headers["sec-fetch-site"];
  return site === undefined || site === "same-origin" || site === "none" || headers["sec-fetch-mode"] === "navigate";
}
