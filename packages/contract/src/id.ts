import type { Random } from "./random.ts";

/** Crockford's base 32 in lower case: no i, l, o, u. */
const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz";

/** Kinds of ids and their prefixes. */
const PREFIX = { sandbox: "sb", event: "ev", key: "k", webhook: "wh", delivery: "wd" } as const;

/** What an id names. */
export type IdKind = keyof typeof PREFIX;

/** Cell of an installation: two characters inside every id. */
export const DEFAULT_CELL = "00";

/** What a sandbox id looks like: `sb`, 9 characters of time, 2 of cell, 10 of randomness. */
export const SANDBOX_ID_PATTERN: RegExp = /^sb[0-9a-z]{21}$/;

/** A new id: lower-case letters and digits only (it appears in host names), sortable by time within a kind. */
export function newId(kind: IdKind, nowMs: number, random: Random, cell: string = DEFAULT_CELL): string {
  let time = "";
  for (let rest = Math.max(0, Math.floor(nowMs)), i = 0; i < 9; i += 1) {
    time = ALPHABET.charAt(rest % 32) + time;
    rest = Math.floor(rest / 32);
  }
  let tail = "";
  for (const byte of random.bytes(10)) tail += ALPHABET.charAt(byte & 31);
  return PREFIX[kind] + time + cell + tail;
}

/** The cell an id was made in. */
export function cellOf(id: string): string {
  return id.slice(-12, -10);
}
