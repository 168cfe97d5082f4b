import { fork } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it } from "vitest";
import { FLEET_PLANTS } from "./fleet-plants.ts";
import { playFleet } from "./fleet-world.ts";
import type { PartReport } from "./play-part.ts";

/** One seed to replay: `SIM_SEED=123 npx vitest run tests/sim/fleet`. */
const ONE = process.env["SIM_SEED"];
/** How many seeds to play, from 1 on. */
const SEEDS = Number(process.env["SIM_SEEDS"] ?? 1_500);
/** Most seeds of one process. */
const PART = 2_500;

/** Seeds, first and last, shared out to processes. */
function partsOf(seeds: number): (readonly [first: number, last: number])[] {
  if (ONE !== undefined) return [[Number(ONE), Number(ONE)]];
  const size = Math.min(PART, Math.ceil(seeds / availableParallelism()));
  return Array.from({ length: Math.ceil(seeds / size) }, (_, i) => [i * size + 1, Math.min(seeds, (i + 1) * size)]);
}

/** Plays seeds in a process of their own, which ends with the signal. */
async function playPart([first, last]: readonly [number, number], signal: AbortSignal): Promise<PartReport> {
  const child = fork(join(import.meta.dirname, "play-part.ts"), [String(first), String(last)], {
    execArgv: ["--conditions=@caisson/source"],
    signal,
    killSignal: "SIGKILL",
  });
  try {
    const gone = once(child, "exit").then(([code, signal]) => {
      throw new Error(`the process of the seeds ${first} to ${last} ended: ${String(signal ?? code)}`);
    });
    const told = once(child, "message").then(([report]) => report as PartReport);
    return await Promise.race([told, gone]);
  } finally {
    child.kill("SIGKILL");
  }
}

describe("many control planes and many workers under the simulator", () => {
  it(`keep their promises in ${ONE ?? SEEDS} worlds`, { timeout: Math.max(3_600_000, SEEDS * 1_000) }, async ({ signal }) => {
    const stop = new AbortController();
    const ended = AbortSignal.any([signal, stop.signal]);
    const left = partsOf(SEEDS);
    const reports: PartReport[] = [];
    const work = async (): Promise<void> => {
      for (let part = left.shift(); part !== undefined; part = left.shift()) {
        const report = await playPart(part, ended);
        if (report.broken !== undefined) throw new Error(report.broken);
        reports.push(report);
        if (part[1] - part[0] + 1 === PART) console.log(`worlds ${part[0]} to ${part[1]}: nothing broken`);
      }
    };
    // The first that is broken ends the others.
    await Promise.all(Array.from({ length: availableParallelism() }, work)).finally(() => stop.abort());
    // A world in which nothing happens would keep every promise.
    const many = SEEDS > 100 && ONE === undefined ? SEEDS : 0;
    const total = (what: Exclude<keyof PartReport, "broken">): number => reports.reduce((sum, report) => sum + report[what], 0);
    expect(total("sandboxes")).toBeGreaterThanOrEqual(many * 3);
    expect(total("acknowledged")).toBeGreaterThanOrEqual(many * 2);
    expect(total("crashes")).toBeGreaterThanOrEqual(many / 2);
    expect(total("moves")).toBeGreaterThanOrEqual(many / 20);
  });

  it("play a seed the same way twice", async () => {
    for (const seed of [3, 7, 11]) {
      const first = await playFleet(seed, { recording: true });
      const second = await playFleet(seed, { recording: true });
      expect(first.trace.length).toBeGreaterThan(20);
      expect(second.trace).toEqual(first.trace);
    }
  });

  it.each(Object.entries(FLEET_PLANTS))("show %s that was planted", { timeout: 3_600_000 }, async (_name, { within, plant, as = /./ }) => {
    let found: string | undefined;
    for (let seed = 1; seed <= within && found === undefined; seed += 1) {
      const { violation } = await playFleet(seed, { plant });
      if (violation !== undefined && as.test(violation.message)) found = violation.message;
    }
    expect(found).toBeDefined();
  });
});
