import { CaissonError, formatDuration, parseDuration } from "@caisson/contract";
import type { ControlDefaults } from "./control-defaults.ts";

/** The time to live of a request, in ms; `invalid_request` when it is longer than allowed. */
export function ttlOf(ttl: string | undefined, defaults: ControlDefaults): number {
  const ms = ttl === undefined ? Math.min(defaults.ttlMs, defaults.maxTtlMs) : (parseDuration(ttl) ?? Number.NaN);
  checkTtl(ms, defaults);
  return ms;
}

/** Refuses what is no time to live or a longer one than allowed. */
export function checkTtl(ms: number, defaults: ControlDefaults): void {
  if (ms > 0 && ms <= defaults.maxTtlMs) return;
  const message = `must be longer than nothing and at most ${formatDuration(defaults.maxTtlMs)} (defaults.max_ttl)`;
  throw new CaissonError("invalid_request", `ttl ${message}.`, { errors: [{ path: "ttl", message }] });
}
