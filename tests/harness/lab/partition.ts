import type { Cut } from "./lab-network.ts";

/** One cut of a network: who cannot reach whom, and in which directions. */
export interface Apart {
  readonly from: string;
  readonly to: string;
  /** `forth`: only what the first sends is lost. */
  readonly how: Cut;
}

/** Cuts that last one period together, and what is shown meanwhile. */
export interface Partition {
  readonly name: string;
  readonly cuts: readonly Apart[];
  /** Workers whose sandboxes are missing for as long as it lasts; those of all others are running. */
  readonly missing: readonly string[];
  /** Control planes that have their database, and so answer. */
  readonly answering: readonly string[];
  /** A worker behind NAT everything of which comes late by this many ms, both ways. */
  readonly late?: { readonly worker: string; readonly ms: number };
}

export const CONTROLS: readonly string[] = ["cp1", "cp2", "cp3"];
export const WORKERS: readonly string[] = ["w1", "w2", "w3", "w4", "w5"];
const NODES = [...CONTROLS, "pg", ...WORKERS];

const both = (from: string, to: string): Apart => ({ from, to, how: "both" });
const forth = (from: string, to: string): Apart => ({ from, to, how: "forth" });

/** Each kind of pair there is, in each direction, beside each other; `w5` is behind NAT. */
export const KINDS: readonly Partition[] = [
  {
    name: "w1-cp1, w2-every cp, w3>cp3, cp2-pg, w5(NAT)-cp1, w3-w4, w4-pg",
    cuts: [
      both("w1", "cp1"),
      ...CONTROLS.map((control) => both("w2", control)),
      forth("w3", "cp3"),
      both("cp2", "pg"),
      both("w5", "cp1"),
      both("w3", "w4"),
      both("w4", "pg"),
    ],
    missing: ["w2"],
    answering: ["cp1", "cp3"],
  },
  {
    name: "w3>every cp, every cp>w1, w5(NAT)-every cp, cp1-cp2, pg>cp3, cp1>w2",
    cuts: [
      ...CONTROLS.map((control) => forth("w3", control)),
      ...CONTROLS.map((control) => forth(control, "w1")),
      ...CONTROLS.map((control) => both("w5", control)),
      both("cp1", "cp2"),
      forth("pg", "cp3"),
      forth("cp1", "w2"),
    ],
    missing: ["w1", "w3", "w5"],
    answering: ["cp1", "cp2"],
  },
  {
    name: "w5 is 30 s late, w4-cp2, cp1>pg, cp3>cp2, w1>cp2, cp2>w3",
    cuts: [both("w4", "cp2"), forth("cp1", "pg"), forth("cp3", "cp2"), forth("w1", "cp2"), forth("cp2", "w3")],
    // A link that is 30 s late each way is no link: whoever listens has given it up by then.
    missing: ["w5"],
    answering: ["cp2", "cp3"],
    late: { worker: "w5", ms: 30_000 },
  },
];

/** Workers that a control plane reaches meanwhile: itself, or by way of another one that answers. */
export function reachedBy({ cuts, answering, late }: Partition, control: string): string[] {
  const apart = (a: string, b: string): boolean => cuts.some(({ from, to }) => (from === a && to === b) || (from === b && to === a));
  const ways = [control, ...answering.filter((other) => !apart(control, other))];
  return WORKERS.filter((worker) => worker !== late?.worker && ways.some((way) => !apart(way, worker)));
}

/**
 * Every two nodes there are, in as few periods as can be: each node is in one pair of a period at most, so that every worker
 * has two control planes left, and one of those its database.
 */
export function everyPair(): Partition[] {
  const periods = NODES.length % 2 === 0 ? NODES.length - 1 : NODES.length;
  return Array.from({ length: periods }, (_, period) => {
    // The tournament of the circle: whoever is paired with itself in a period has none.
    const pairs = NODES.flatMap((a, i) => {
      const b = NODES[(2 * NODES.length + period - i) % NODES.length];
      return b !== undefined && NODES.indexOf(b) > i ? [both(a, b)] : [];
    });
    const answering = CONTROLS.filter((control) => !pairs.some(({ from, to }) => from === control && to === "pg"));
    return { name: pairs.map(({ from, to }) => `${from}-${to}`).join(", "), cuts: pairs, missing: [], answering };
  });
}
