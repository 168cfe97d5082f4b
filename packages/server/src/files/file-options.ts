import type { RequestScope } from "../http/request-scope.ts";

/** Options of a guest's file method. */
export interface FileOptions {
  readonly signal: AbortSignal;
  readonly user?: string;
  readonly mode?: number;
}

/** The options that requests about files have in common. */
export function fileOptions(
  scope: RequestScope,
  fields: { readonly user?: string | undefined; readonly mode?: string | undefined },
): FileOptions {
  return {
    signal: scope.signal,
    ...(fields.user === undefined ? {} : { user: fields.user }),
    ...(fields.mode === undefined ? {} : { mode: Number.parseInt(fields.mode, 8) }),
  };
}
