import type { IncomingHttpHeaders } from "node:http";
import { CaissonError } from "@caisson/contract";
import type { Grant, GrantVerifier, TokenAction } from "@caisson/identity";
import type { FastifyRequest } from "fastify";
import type { RequestScope } from "../http/request-scope.ts";
import type { Access, RouteConfig } from "../http/route-config.ts";
import type { Caller, KeyVerifier } from "./key-verifier.ts";

/** Longest key that is looked at. */
const MAX_KEY = 512;

/** Finds out who calls and what he may do; writes it into the scope. Throws `unauthorized` or `forbidden`. */
export type Authenticator = (request: FastifyRequest, scope: RequestScope, config: Partial<RouteConfig>) => Promise<void>;

/** Lets in by API keys, and where a route says so by tokens: on a control plane. */
export function byKeys(keys: KeyVerifier, tokens: GrantVerifier): Authenticator {
  return async (request, scope, { access, token }) => {
    if (access === undefined || access === "open") return;
    const granted = token === undefined ? undefined : await authenticateByToken(request, token, tokens);
    scope.grant = granted?.grant;
    scope.caller = granted?.caller ?? (await authenticate(request, access, keys));
  };
}

/** The keys a request presents, with the header each came in. */
export function presentedKeys(headers: IncomingHttpHeaders): { readonly header: string; readonly key: string }[] {
  const keys: { header: string; key: string }[] = [];
  for (const header of ["x-admin-api-key", "x-api-key"]) {
    const key = headers[header];
    if (typeof key === "string" && key.length > 0) keys.push({ header, key });
  }
  const bearer = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "");
  if (bearer !== null) keys.push({ header: "authorization", key: bearer[1] ?? "" });
  else if (headers.authorization !== undefined) keys.push({ header: "authorization", key: "" });
  return keys;
}

/** Lets a token do for a key, where the route takes one and no key came. Throws `unauthorized`. */
export async function authenticateByToken(
  request: FastifyRequest,
  action: TokenAction,
  tokens: GrantVerifier,
): Promise<{ readonly caller: Caller; readonly grant: Grant } | undefined> {
  const { token } = request.query as { token?: unknown };
  const { id } = request.params as { id?: unknown };
  if (typeof token !== "string" || typeof id !== "string" || presentedKeys(request.headers).length > 0) return undefined;
  const grant = await tokens.verify(token, action, id);
  return { caller: { role: "api", name: `token:${action}` }, grant };
}

/**
 * Who calls, for a route of the given access. Every key presented must be right: a wrong one beside a right one is a mistake
 * worth telling. Throws `unauthorized` or `forbidden`.
 */
export async function authenticate(request: FastifyRequest, access: Exclude<Access, "open">, keys: KeyVerifier): Promise<Caller> {
  const presented = presentedKeys(request.headers);
  if (presented.length === 0) throw new CaissonError("unauthorized", "The request carries no API key.");
  let strongest: Caller | undefined;
  for (const { header, key } of presented) {
    const caller = key.length > 0 && key.length <= MAX_KEY ? await keys.verify(key) : undefined;
    if (caller === undefined)
      throw new CaissonError("unauthorized", `The key in the header ${header} is not valid.`, { detail: { header } });
    if (strongest === undefined || caller.role === "admin") strongest = caller;
  }
  if (strongest === undefined) throw new CaissonError("unauthorized", "The request carries no API key.");
  if (access === "admin" && strongest.role !== "admin")
    throw new CaissonError("forbidden", `The key ${strongest.name} may not do this; it needs the admin key.`);
  return strongest;
}
