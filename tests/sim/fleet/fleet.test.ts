import process from "node:process";
import { describe, expect, it } from "vitest";
import { FLEET_PLANTS } from "./fleet-plants.ts";
import { playFleet, type FleetOutcome } from "./fleet-world.ts";

/** One seed to replay: `SIM_SEED=123 npx vitest run tests/sim/fleet`. */
const ONE = process.env["SIM_SEED"];
/** How many seeds to play. */
const SEEDS = Number(process.env["SIM_SEEDS"] ?? 1_500);
/** The first of them: several processes share a long run. */
const FIRST = Number(process.env["SIM_FIRST"] ?? 1);
/** Seeds of one test: what a long run has done shows while it goes on. */
const PART = 2_500;
/** Lines of a failing run that are shown. */
const SHOWN = 200;

/** A failing run once more, this time with all that happened in it. */
async function explain(seed: number, first: FleetOutcome): Promise<string> {
  const { trace } = await playFleet(seed, { recording: true });
  const cut = trace.length > SHOWN ? [`… ${trace.length - SHOWN} lines before`] : [];
  return [
    `seed ${seed}: ${first.violation?.message}`,
    `replay: SIM_SEED=${seed} npx vitest run tests/sim/fleet`,
    ...cut,
    ...trace.slice(-SHOWN),
  ].join("\n");
}

function partsOf(seeds: number): readonly (readonly [first: number, last: number])[] {
  if (ONE !== undefined) return [[Number(ONE), Number(ONE)]];
  return Array.from({ length: Math.ceil(seeds / PART) }, (_, i) => [FIRST + i * PART, FIRST + Math.min(seeds, (i + 1) * PART) - 1]);
}

describe("many control planes and many workers under the simulator", () => {
  it.each(partsOf(SEEDS))("keep their promises in the worlds %i to %i", { timeout: 3_600_000 }, async (first, last) => {
    const total = { sandboxes: 0, acknowledged: 0, crashes: 0, moves: 0 };
    for (let seed = first; seed <= last; seed += 1) {
      const outcome = await playFleet(seed);
      if (outcome.violation !== undefined) throw new Error(await explain(seed, outcome));
      total.sandboxes += outcome.sandboxes;
      total.acknowledged += outcome.acknowledged;
      total.crashes += outcome.crashes;
      total.moves += outcome.moves;
    }
    // A world in which nothing happens would keep every promise.
    const many = last - first > 100 ? last - first : 0;
    expect(total.sandboxes).toBeGreaterThanOrEqual(many * 3);
    expect(total.acknowledged).toBeGreaterThanOrEqual(many * 2);
    expect(total.crashes).toBeGreaterThanOrEqual(many / 2);
    expect(total.moves).toBeGreaterThanOrEqual(many / 20);
  });

  it("play a seed the same way twice", async () => {
    for (const seed of [3, 7, 11]) {
      const first = await playFleet(seed, { recording: true });
      const second = await playFleet(seed, { recording: true });
      expect(first.trace.length).toBeGreaterThan(20);
      expect(second.trace).toEqual(first.trace);
    }
  });

  it.each(Object.entries(FLEET_PLANTS))("show %s that was planted", { timeout: 600_000 }, async (_name, { within, plant, as = /./ }) => {
    let found: string | undefined;
    for (let seed = 1; seed <= within && found === undefined; seed += 1) {
      const { violation } = await playFleet(seed, { plant });
      if (violation !== undefined && as.test(violation.message)) found = violation.message;
    }
    expect(found).toBeDefined();
  });
});
