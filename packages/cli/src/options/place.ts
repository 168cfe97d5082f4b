import { usageError } from "../program/cli-error.ts";

/** A path on this machine, or in a sandbox. */
export type Place =
  | { readonly on: "machine"; readonly path: string }
  | { readonly on: "sandbox"; readonly sandbox: string; readonly path: string };

/** Reads `SANDBOX:/path` as a place in a sandbox, all else as a path on this machine. */
export function parsePlace(text: string): Place {
  const [, sandbox, path] = /^([a-z0-9]+):(\/.*)$/s.exec(text) ?? [];
  return sandbox === undefined || path === undefined ? { on: "machine", path: text } : { on: "sandbox", sandbox, path };
}

/** Reads `SANDBOX:/path`, and refuses all else. */
export function parseSandboxPlace(text: string): Extract<Place, { on: "sandbox" }> {
  const place = parsePlace(text);
  if (place.on === "machine") throw usageError(`${text} is no place in a sandbox.`, "Write it as SANDBOX:/path, with an absolute path.");
  return place;
}
