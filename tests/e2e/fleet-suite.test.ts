import { afterAll, beforeAll, describe } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { describeSandboxSuite, SUITE_PARTS, type SuitePart } from "../sandbox-suite/sandbox-suite.ts";

const LONG = process.env.LONG_TESTS !== undefined;
/** The parts in which a time of day is told, for the worker whose clock is wrong. */
const WITH_TIMES: readonly SuitePart[] = ["commands", "files", "observation", "previews", "the exec log"];
/** The part that starts the command line for each step says nothing of a worker that the other parts do not. */
const MOST = SUITE_PARTS.filter((part) => part !== "file commands");
/** The short form takes the two that are set up unlike the worker inside a server. */
const WORKERS: [id: string, how: string, parts: readonly SuitePart[]][] = [
  ["w4", "with a clock an hour ahead", LONG ? SUITE_PARTS : WITH_TIMES],
  ["w5", "behind NAT", LONG ? SUITE_PARTS : MOST],
  ...(LONG ? ["w1", "w2", "w3"] : []).map((id): [string, string, readonly SuitePart[]] => [id, "plain", SUITE_PARTS]),
];

describe.skipIf(labMissing() !== undefined)("three control planes, five workers", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" } });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  describe.each(WORKERS)("a sandbox on %s, %s", (worker, _how, parts) => {
    describeSandboxSuite(() => lab.target(worker), parts);
  });
});
