import process from "node:process";
import { explain } from "../broken-world.ts";
import { playFleet } from "./fleet-world.ts";

/** What happened in some worlds. */
export interface PartReport {
  /** What a world did not keep, and how it came to that; undefined when all kept everything. */
  readonly broken: string | undefined;
  readonly sandboxes: number;
  readonly acknowledged: number;
  readonly crashes: number;
  readonly moves: number;
}

/*
 * A process of its own that plays the seeds of its two arguments and sends a report. Control planes that are killed in a world never
 * end what they wait for, and Node keeps that: only the end of a process frees it.
 */
const [first = 1, last = first] = process.argv.slice(2).map(Number);
process.send?.(await play(first, last));

async function play(first: number, last: number): Promise<PartReport> {
  const total = { sandboxes: 0, acknowledged: 0, crashes: 0, moves: 0 };
  for (let seed = first; seed <= last; seed += 1) {
    const outcome = await playFleet(seed);
    if (outcome.violation !== undefined) return { ...total, broken: await explain(seed, outcome.violation, "tests/sim/fleet", playFleet) };
    total.sandboxes += outcome.sandboxes;
    total.acknowledged += outcome.acknowledged;
    total.crashes += outcome.crashes;
    total.moves += outcome.moves;
  }
  return { ...total, broken: undefined };
}
