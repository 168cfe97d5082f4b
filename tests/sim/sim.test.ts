import process from "node:process";
import { describe, expect, it } from "vitest";
import { explain } from "./broken-world.ts";
import { PLANTS } from "./plants.ts";
import { play, type Outcome } from "./world.ts";

/** One seed to replay: `SIM_SEED=123 npx vitest run tests/sim`. */
const ONE = process.env["SIM_SEED"];
/** How many seeds to play, from 1 on. */
const SEEDS = Number(process.env["SIM_SEEDS"] ?? (process.env["CI"] === undefined ? 1_000 : 2_000));
/** A planted bug must be found within this many seeds. */
const FIND_WITHIN = 1_000;

describe("the orchestrator under the simulator", () => {
  it("keeps its promises whatever crashes, hangs, jumps or comes twice", { timeout: 3_600_000 }, async () => {
    const seeds = ONE === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(ONE)];
    const total = { sandboxes: 0, acknowledged: 0, crashes: 0 };
    for (const seed of seeds) {
      const outcome = await play(seed);
      if (outcome.violation !== undefined) throw new Error(await explain(seed, outcome.violation, "tests/sim", play));
      total.sandboxes += outcome.sandboxes;
      total.acknowledged += outcome.acknowledged;
      total.crashes += outcome.crashes;
    }
    // A world in which nothing happens would keep every promise.
    const many = seeds.length > 100 ? seeds.length : 0;
    expect(total.sandboxes).toBeGreaterThanOrEqual(many * 3);
    expect(total.acknowledged).toBeGreaterThanOrEqual(many * 3);
    expect(total.crashes).toBeGreaterThanOrEqual(many / 4);
  });

  it("plays a seed the same way twice", async () => {
    for (const seed of [3, 7, 11]) {
      const first = await play(seed, { recording: true });
      const second = await play(seed, { recording: true });
      expect(first.trace.length).toBeGreaterThan(20);
      expect(second.trace).toEqual(first.trace);
    }
  });

  it.each(Object.keys(PLANTS))("finds %s that was planted", { timeout: 3_600_000 }, async (name) => {
    const plant = PLANTS[name];
    if (plant === undefined) throw new Error(`no plant ${name}`);
    let found: Outcome["violation"];
    for (let seed = 1; seed <= FIND_WITHIN && found === undefined; seed += 1) found = (await play(seed, { plant })).violation;
    expect(found).toBeDefined();
  });
});
