/** The years 0 to 9999, in ms: what the API's form of a time can tell. */
const FIRST_MS = -62_167_219_200_000;
const LAST_MS = 253_402_300_799_999;

/** A time as the API writes it. Times come from sandboxes and may be anything; the nearest that can be told is. */
export function isoTime(ms: number): string {
  return new Date(Number.isFinite(ms) ? Math.min(LAST_MS, Math.max(FIRST_MS, ms)) : 0).toISOString();
}
