import { CaissonError } from "@caisson/contract";
import type { RequestScope } from "../http/request-scope.ts";

/** A file request's own words for what it wants. */
export interface FileQuery {
  readonly path: string;
  readonly user?: string | undefined;
  readonly token?: string | undefined;
}

/**
 * Holds a request that came by a signed URL to what was signed: that path, nothing else in the query; the user is the
 * signed one. A request with a key must not have a token too. Returns the user who acts.
 */
export function fileAccess(scope: RequestScope, query: FileQuery): { readonly user?: string | undefined } {
  const { grant } = scope;
  if (grant === undefined) {
    if (query.token !== undefined) {
      const message = "must not come together with a key";
      throw new CaissonError("invalid_request", `The field token ${message}.`, { errors: [{ path: "token", message }] });
    }
    return { user: query.user };
  }
  const more = Object.entries(query).find(([name, value]) => name !== "path" && name !== "token" && value !== undefined)?.[0];
  if (more !== undefined) throw new CaissonError("unauthorized", `The signed URL does not take the field ${more}.`);
  if (grant.path === undefined || grant.path !== query.path) throw new CaissonError("unauthorized", "The token does not open this path.");
  return { user: grant.user };
}
