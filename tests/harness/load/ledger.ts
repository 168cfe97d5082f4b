/** What an installation promised one sandbox to be. */
export interface Promised {
  readonly id: string;
  readonly workerId: string;
  /** Its Idempotency-Key, which is also the content of its marker. */
  readonly key: string;
  /** Whether the marker was written: from then on a box without it is another box. */
  marked: boolean;
  /** `leaving` from the first request to destroy it on: what it is then, nobody can say. */
  state: "live" | "leaving" | "destroyed";
}

/** A moment at which something was acknowledged, and since when it was asked for; monotonic ms. */
export interface Acknowledged {
  readonly asked: number;
  readonly at: number;
}

/** Remembers what was acknowledged under load, and everything that contradicts it. */
export class Ledger {
  readonly sandboxes = new Map<string, Promised>();
  /** Keys of creations whose outcome was never told: each may be one sandbox, or none. */
  readonly untold = new Set<string>();
  readonly creates: Acknowledged[] = [];
  readonly execs: Acknowledged[] = [];
  readonly uploads: Acknowledged[] = [];
  /** Codes of answers that were not what was asked for, and how often. */
  readonly refusals = new Map<string, number>();
  /** What must never be, in words. */
  readonly violations: string[] = [];

  created(promised: Promised, asked: number): void {
    const before = this.sandboxes.get(promised.id);
    if (before !== undefined) this.violated(`${promised.id} answers two creations: ${before.key} and ${promised.key}`);
    this.sandboxes.set(promised.id, promised);
    this.creates.push({ asked, at: performance.now() });
  }

  /** Notes a refusal; one that has no name of its own is a mistake of the server's. */
  refused(what: string, code: string): void {
    if (code === "internal" || code === "no code") this.violated(`${what} was answered with ${code}`);
    const name = `${what}: ${code}`;
    this.refusals.set(name, (this.refusals.get(name) ?? 0) + 1);
  }

  violated(what: string): void {
    this.violations.push(what);
  }

  /** Those that were promised and not asked to go. */
  get live(): Promised[] {
    return [...this.sandboxes.values()].filter((one) => one.state === "live");
  }
}

/** The longest time without an acknowledgement, from a moment to another, in ms. */
export function longestGap(all: readonly Acknowledged[], from: number, to: number): number {
  const moments = [from, ...all.map(({ at }) => at).filter((at) => at > from && at < to), to];
  return Math.max(...moments.slice(1).map((at, i) => at - (moments[i] ?? at)));
}

/** How long after a moment something that was asked for after it was acknowledged, in ms; undefined when nothing was. */
export function firstAfter(all: readonly Acknowledged[], moment: number): number | undefined {
  const after = all.filter(({ asked }) => asked >= moment).map(({ at }) => at - moment);
  return after.length === 0 ? undefined : Math.min(...after);
}
