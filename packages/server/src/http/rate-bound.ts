import { isIPv6 } from "node:net";
import { CaissonError } from "@caisson/contract";
import { Allowance, type AllowanceOptions } from "@caisson/control";

/** How many requests one peer may make. */
export interface RateBoundOptions extends Omit<AllowanceOptions, "names"> {
  /** Most peers that are told apart; the ones silent for longest are forgotten first. */
  readonly peers: number;
}

/** Bounds how often one peer may do what anybody may do: a bucket for each address, and for each /64 of IPv6. */
export class RateBound {
  readonly #allowance: Allowance;

  constructor({ peers, ...options }: RateBoundOptions) {
    this.#allowance = new Allowance({ ...options, names: peers });
  }

  /** Counts a request of a peer; `resource_limit` with the time to wait when it makes too many. */
  take(address: string | undefined): void {
    const wait = this.#allowance.take(networkOf(address ?? ""));
    if (wait > 0) throw new CaissonError("resource_limit", "Too many requests of this kind come from this address.", { retryAfter: wait });
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
