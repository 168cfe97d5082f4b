import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import type { Cut } from "../harness/lab/lab-network.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { last, underFault, until } from "../harness/lab/under-fault.ts";

/** How long each partition lasts, in ms. */
const PARTITION_MS = Number(process.env.CAISSON_PARTITION_SECONDS ?? 300) * 1000;
/** One heartbeat, and the time between two looks, in ms. */
const TRUE_WITHIN_MS = 10_000 + 500;

const CONTROLS = ["cp1", "cp2", "cp3"];
const WORKERS = ["w1", "w2", "w3", "w4", "w5"];
const NODES = [...CONTROLS, "pg", ...WORKERS];

/** Which two are cut apart: one pair of each kind, or with `CAISSON_PARTITION_PAIRS=all` each there is. */
const KINDS: [string, string][] = [
  ["w1", "cp1"],
  ["w5", "cp2"],
  ["cp1", "cp2"],
  ["cp3", "pg"],
  ["w3", "w4"],
  ["w4", "pg"],
];
const PAIRS =
  process.env.CAISSON_PARTITION_PAIRS === "all" ? NODES.flatMap((a, i) => NODES.slice(i + 1).map((b): [string, string] => [a, b])) : KINDS;

describe.skipIf(labMissing() !== undefined)(
  "partitions with the times that are the default",
  { timeout: PARTITION_MS * 2 + 300_000 },
  () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" } });
    });
    afterAll(() => lab[Symbol.asyncDispose]());

    const states = async (workerId: string): Promise<string[]> => {
      const { items } = await lab.api.json<{ items: { state: string }[] }>("GET", `/sandboxes?limit=1000&worker_id=${workerId}`);
      return [...new Set(items.map((one) => one.state))].filter((state) => state !== "creating").toSorted();
    };

    it.each(PAIRS)("%s and %s cannot reach each other: all others can, and nothing is shown that is not so", async (a, b) => {
      await underFault(lab, {
        name: `${PARTITION_MS / 1000} s of partition between ${a} and ${b}`,
        trueWithinMs: TRUE_WITHIN_MS,
        play: async ({ ledger }) => {
          await lab.network.cut(a, b);
          await last(PARTITION_MS);
          for (const worker of WORKERS) expect(await states(worker)).toEqual(["running"]);
          const created = ledger.creates.length;
          await until(() => ledger.creates.length > created);
          await lab.network.healAll();
        },
      });
    });

    it.each<[string, Cut]>([
      ["w2", "both"],
      ["w5", "both"],
      ["w3", "forth"],
    ])("no control plane reaches %s (%s): its sandboxes are missing, and are back with it", async (worker, how) => {
      await underFault(lab, {
        name: `${PARTITION_MS / 1000} s of partition of ${worker} from every control plane (${how})`,
        trueWithinMs: TRUE_WITHIN_MS,
        play: async () => {
          for (const control of CONTROLS) await lab.network.cut(worker, control, how);
          await last(PARTITION_MS);
          expect(await states(worker)).toEqual(["missing"]);
          await lab.network.healAll();
        },
      });
    });

    it("control planes hear a worker, and it does not hear them", async () => {
      await underFault(lab, {
        name: `${PARTITION_MS / 1000} s in which w1 hears no control plane`,
        trueWithinMs: TRUE_WITHIN_MS,
        play: async () => {
          for (const control of CONTROLS) await lab.network.cut(control, "w1", "forth");
          await last(PARTITION_MS);
          await lab.network.healAll();
          expect(lab.worker("w1").pid).toBeGreaterThan(0);
        },
      });
    });

    it("a worker answers 30 s late", async () => {
      await underFault(lab, {
        name: "w5 answers 30 s late",
        trueWithinMs: TRUE_WITHIN_MS + 30_000,
        play: async () => {
          lab.gateway("w5").delay(30_000);
          await last(PARTITION_MS);
          lab.gateway("w5").delay(0);
          expect(await states("w1")).toEqual(["running"]);
        },
      });
    });
  },
);
