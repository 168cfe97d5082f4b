import { afterAll, beforeAll, describe } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { describeSandboxSuite, SUITE_PARTS } from "../sandbox-suite/sandbox-suite.ts";

const LONG = process.env.LONG_TESTS !== undefined;
/** The part that starts the command line for each step says nothing of a worker that the other parts do not. */
const PARTS = LONG ? SUITE_PARTS : SUITE_PARTS.filter((part) => part !== "file commands");
/** The short form takes the two that are set up unlike the worker inside a server. */
const WORKERS = [
  ["w4", "with a clock an hour ahead"],
  ["w5", "behind NAT"],
  ...(LONG ? ["w1", "w2", "w3"].map((id) => [id, "plain"]) : []),
] as [string, string][];

describe.skipIf(labMissing() !== undefined)("three control planes, five workers", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" } });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  describe.each(WORKERS)("a sandbox on %s, %s", (worker) => {
    describeSandboxSuite(() => lab.target(worker), PARTS);
  });
});
