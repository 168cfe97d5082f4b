import { ASK_CONTROL_PLANE, CaissonError, isCaissonError, SANDBOX_ID_PATTERN } from "@caisson/contract";
import { reasonOf, type AccessTokens, type GrantVerifier, type SandboxAccess } from "@caisson/identity";
import type { FastifyRequest } from "fastify";
import { presentedKeys, type Authenticator } from "../auth/authenticate.ts";
import { API_PREFIX } from "../routes/api-prefix.ts";
import type { DirectHost } from "./direct-host.ts";
import { notHere } from "./host-operations.ts";
import { scopeOf } from "./route-scopes.ts";

/** What a worker lets clients in by. */
export interface ByAccessOptions {
  readonly tokens: AccessTokens;
  /** Links to ports, which open their connections too. */
  readonly grants: GrantVerifier;
  readonly host: Pick<DirectHost, "present">;
}

/**
 * Lets in by tokens for one sandbox on this worker: checked here, with the public keys, for what the route does and for the
 * epoch that the sandbox has now. Nothing was done when it refuses, and a control plane knows more: the error says so.
 */
export function byAccess({ tokens, grants, host }: ByAccessOptions): Authenticator {
  async function accessOf(token: string, sandboxId: string): Promise<SandboxAccess> {
    try {
      return await tokens.verify(token, sandboxId);
    } catch (error) {
      if (!isCaissonError(error, "unauthorized")) throw error;
      throw new CaissonError("unauthorized", error.message, { cause: error, detail: { ...ASK_CONTROL_PLANE, reason: reasonOf(error) } });
    }
  }

  return async (request, scope, { access, token: action }) => {
    if (access === undefined || access === "open") return;
    const pattern = request.routeOptions.url ?? "";
    const needed = pattern.startsWith(API_PREFIX) ? scopeOf(pattern.slice(API_PREFIX.length)) : undefined;
    if (needed === undefined || access === "admin") throw notOnWorker(`${request.method} ${pattern}`);
    const { id } = request.params as { id?: unknown };
    if (typeof id !== "string" || !SANDBOX_ID_PATTERN.test(id)) throw notHere("of this address");
    const { token, from } = presented(request, action !== undefined);
    if (action === "port" && from === "query") {
      const grant = await grants.verify(token, action, id).catch(() => undefined); // then it must be access
      if (grant !== undefined) {
        scope.grant = grant;
        scope.caller = { role: "api", name: `token:${action}` };
        return;
      }
    }
    const granted = await accessOf(token, id);
    if (!granted.scopes.includes(needed))
      throw new CaissonError("forbidden", `The token may not do this here; it needs ${needed}.`, {
        detail: { ...ASK_CONTROL_PLANE, reason: "scope", scope: needed },
      });
    if (host.present(id)?.epoch !== granted.epoch) throw notHere(id);
    scope.caller = { role: "api", name: granted.keyName };
    scope.epoch = granted.epoch;
  };
}

/** The token of a request: in a header, or, for WebSockets of browsers, in the query. */
function presented(request: FastifyRequest, takesQuery: boolean): { readonly token: string; readonly from: "header" | "query" } {
  const [first, ...more] = presentedKeys(request.headers);
  const { token } = request.query as { token?: unknown };
  if (first?.header === "authorization" && first.key !== "" && more.length === 0) return { token: first.key, from: "header" };
  if (first === undefined && takesQuery && typeof token === "string") return { token, from: "query" };
  const message =
    first === undefined
      ? "The request carries no token. A worker takes those of POST /sandboxes/{id}/access."
      : "A worker takes no API key, only tokens of POST /sandboxes/{id}/access as a bearer token.";
  throw new CaissonError("unauthorized", message, { detail: { ...ASK_CONTROL_PLANE, reason: "missing" } });
}

/** The error for addresses that only control planes serve. */
export function notOnWorker(where: string): CaissonError {
  return new CaissonError("not_on_worker", `A worker does not serve ${where}.`, { detail: ASK_CONTROL_PLANE });
}
