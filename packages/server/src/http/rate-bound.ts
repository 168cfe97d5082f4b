import { isIPv6 } from "node:net";
import { CaissonError, type Clock } from "@caisson/contract";

/** How many requests one peer may make. */
export interface RateBoundOptions {
  /** Requests at once, after a pause. */
  readonly burst: number;
  /** Requests for each second after that. */
  readonly perSecond: number;
  /** Most peers that are told apart; the ones silent for longest are forgotten first. */
  readonly peers: number;
  readonly clock: Pick<Clock, "monotonic">;
}

interface Bucket {
  left: number;
  at: number;
}

/** Bounds how often one peer may do what anybody may do: a bucket for each address, and for each /64 of IPv6. */
export class RateBound {
  readonly #options: RateBoundOptions;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: RateBoundOptions) {
    this.#options = options;
  }

  /** Counts a request of a peer; `resource_limit` with the time to wait when it makes too many. */
  take(address: string | undefined): void {
    const { burst, perSecond, peers, clock } = this.#options;
    const peer = networkOf(address ?? "");
    const now = clock.monotonic();
    const known = this.#buckets.get(peer) ?? { left: burst, at: now };
    const left = Math.min(burst, known.left + ((now - known.at) / 1000) * perSecond);
    this.#buckets.delete(peer);
    for (const [oldest] of this.#buckets) {
      if (this.#buckets.size < peers) break;
      this.#buckets.delete(oldest);
    }
    this.#buckets.set(peer, { left: left < 1 ? left : left - 1, at: now });
    if (left < 1)
      throw new CaissonError("resource_limit", "Too many requests of this kind come from this address.", {
        retryAfter: Math.ceil((1 - left) / perSecond),
      });
  }
}

/** Who changes addresses at will: a single machine has a whole /64 of IPv6. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = "", tail = ""] = address.split("%", 1)[0]?.split("::") ?? [];
  const before = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  const zeros = address.includes("::") ? Array.from({ length: 8 - before.length - after.length }, () => "0") : [];
  return [...before, ...zeros, ...after]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
