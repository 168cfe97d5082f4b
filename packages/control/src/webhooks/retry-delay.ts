import type { Random } from "@caisson/contract";

/** Share by which a delay is earlier or later at most, so that many webhooks do not try again at once. */
const JITTER = 0.2;

/**
 * How long to wait after the `attempts`th attempt failed, in ms; undefined when it was the last: there are as many retries as
 * the schedule has delays.
 */
export function retryDelay(attempts: number, retriesMs: readonly number[], random: Random): number | undefined {
  const delay = retriesMs[attempts - 1];
  if (delay === undefined) return undefined;
  const [byte = 0] = random.bytes(1);
  return Math.round(delay * (1 - JITTER + (2 * JITTER * byte) / 255));
}
