import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { everyPair, KINDS, reachedBy, WORKERS } from "../harness/lab/partition.ts";
import { attempt } from "../harness/load/attempt.ts";
import type { Ledger } from "../harness/load/ledger.ts";
import { last, underFault, until } from "../harness/lab/under-fault.ts";

/** How long each period lasts, in ms. */
const PARTITION_MS = Number(process.env.CAISSON_PARTITION_SECONDS ?? 300) * 1000;
/** One heartbeat, and the time between two looks, in ms. */
const TRUE_WITHIN_MS = 10_000 + 500;
/** Each kind of pair in a few periods, or with `CAISSON_PARTITION_PAIRS=all` each pair there is. */
const PERIODS = process.env.CAISSON_PARTITION_PAIRS === "all" ? everyPair() : KINDS;

describe.skipIf(labMissing() !== undefined)(
  "partitions with the times that are the default",
  { timeout: PARTITION_MS * 2 + 300_000 },
  () => {
    let lab: Lab;
    beforeAll(async () => {
      lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" } });
    });
    afterAll(() => lab[Symbol.asyncDispose]());

    /** States of the sandboxes of each worker, each once, as a control plane shows them. */
    async function shownBy(control: string): Promise<Record<string, string[]>> {
      const page = await lab.control(control).json<{ items: { state: string; worker_id: string }[] }>("GET", "/sandboxes?limit=1000");
      // One whose creation nobody knows the outcome of is that, and no more.
      const known = page.items.filter(({ state }) => state !== "creating");
      const statesOf = (worker: string): string[] => [...new Set(known.filter((one) => one.worker_id === worker).map((one) => one.state))];
      return Object.fromEntries(WORKERS.map((worker) => [worker, statesOf(worker).toSorted()]));
    }

    /** What becomes of a command in a sandbox of each of these workers. */
    async function ranBy(control: string, workers: readonly string[], ledger: Ledger): Promise<Record<string, string>> {
      const ran = async (worker: string): Promise<[string, string]> => {
        const path = `/sandboxes/${ledger.live.find(({ workerId }) => workerId === worker)?.id}/exec`;
        const what = await attempt(lab.control(control), "POST", path, { body: { command: "true" }, timeoutMs: 20_000 });
        return [worker, what.kind === "done" ? "done" : what.code];
      };
      return Object.fromEntries(await Promise.all(workers.map(ran)));
    }

    it.each(PERIODS)("$name: nothing is shown that is not so", async (partition) => {
      const { name, cuts, missing, answering, late } = partition;
      await underFault(lab, {
        name: `${PARTITION_MS / 1000} s of ${name}`,
        trueWithinMs: TRUE_WITHIN_MS,
        play: async ({ ledger }) => {
          const before = ledger.creates.length;
          for (const { from, to, how } of cuts) await lab.network.cut(from, to, how);
          if (late !== undefined) lab.gateway(late.worker).delay(late.ms);
          await last(PARTITION_MS);
          const expected = Object.fromEntries(WORKERS.map((worker) => [worker, [missing.includes(worker) ? "missing" : "running"]]));
          for (const control of answering) expect({ control, shown: await shownBy(control) }).toEqual({ control, shown: expected });
          for (const control of answering) {
            const workers = reachedBy(partition, control);
            const all = Object.fromEntries(workers.map((worker) => [worker, "done"]));
            expect({ control, ran: await ranBy(control, workers, ledger) }).toEqual({ control, ran: all });
          }
          const created = ledger.creates.length;
          await until(() => ledger.creates.length > created);
          if (late !== undefined) {
            lab.gateway(late.worker).delay(0);
            // What is on its way is late still.
            await last(late.ms);
          }
          await lab.network.healAll();
          return { missing: missing.join(", "), created_meanwhile: ledger.creates.length - before };
        },
      });
    });
  },
);
