import type { Sandbox as SandboxInfo } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { last, seconds, underFault, until } from "../harness/lab/under-fault.ts";
import { attempt } from "../harness/load/attempt.ts";
import { firstAfter, longestGap } from "../harness/load/ledger.ts";

/** Time after the loss of one control plane in which writes must go on, in ms. */
const WRITES_RESUME_MS = 3_000;
/** One heartbeat of this lab, and what two busy cores need besides, in ms. */
const TRUE_WITHIN_MS = 1_000 + 3_000;
/** After a partition: one heartbeat as it is by default. When packets flow again is up to TCP, which is no faster here. */
const HEALED_WITHIN_MS = 10_000;
/** Longer than a worker may be silent here. */
const SILENT_MS = 11_000;

// Heartbeats and limits are ten times as fast as by default; `fleet-partitions.long.test.ts` has the real ones.
const FAST = {
  controlEnv: { CAISSON_WORKERS__LATE_AFTER: "3s", CAISSON_WORKERS__UNREACHABLE_AFTER: "9s" },
  workerEnv: { CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s" },
} as const;

describe.skipIf(labMissing() !== undefined)("three control planes and five workers under load", { timeout: 400_000 }, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" }, ...FAST });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  /** States of the sandboxes of a worker, each once. One whose creation nobody knows the outcome of is that, and no more. */
  async function statesOn(workerId: string): Promise<string[]> {
    const { items } = await lab.api.json<{ items: SandboxInfo[] }>("GET", `/sandboxes?limit=1000&worker_id=${workerId}`);
    return [...new Set(items.map((one) => one.state))].filter((state) => state !== "creating").toSorted();
  }

  it("kill -9 of a control plane: writes and streams go on through the others", async () => {
    await underFault(lab, {
      name: "kill -9 of a control plane",
      trueWithinMs: TRUE_WITHIN_MS,
      play: async ({ ledger }) => {
        const control = lab.control("cp1");
        await control.kill9();
        const killed = performance.now();
        await until(() => (firstAfter(ledger.creates, killed) ?? Infinity) < Infinity);
        await last(4_000);
        const gap = longestGap(ledger.creates, killed, performance.now());
        const resumed = firstAfter(ledger.creates, killed) ?? Infinity;
        expect(resumed).toBeLessThan(WRITES_RESUME_MS);
        expect(gap).toBeLessThan(WRITES_RESUME_MS);
        await control.up();
        return { writes_resume_s: seconds(resumed), longest_write_gap_s: seconds(gap) };
      },
    });
  });

  it("kill -9 of a worker: its sandboxes live on, and come back with it", async () => {
    await underFault(lab, {
      name: "kill -9 of a worker",
      trueWithinMs: TRUE_WITHIN_MS,
      play: async () => {
        const worker = lab.worker("w1");
        const before = await statesOn("w1");
        expect(before).toContain("running");
        await worker.kill9();
        await expect.poll(() => statesOn("w1"), { timeout: 15_000 }).toEqual(["missing"]);
        await expect.poll(async () => (await lab.shownWorkers()).get("w1")).toBe("unreachable");
        await worker.up();
      },
    });
  });

  it("kill -9 of PostgreSQL: 503 with Retry-After, then all is well", async () => {
    await underFault(lab, {
      name: "kill -9 of PostgreSQL",
      trueWithinMs: TRUE_WITHIN_MS,
      play: async () => {
        await lab.postgres.kill9();
        const refused = await attempt<SandboxInfo>(lab.control("cp2"), "POST", "/sandboxes", { body: {}, timeoutMs: 15_000 });
        expect(refused).toMatchObject({
          kind: "refused",
          status: 503,
          code: "database_unavailable",
          retryAfter: expect.stringMatching(/^\d+$/),
        });
        await last(3_000);
        await lab.postgres.up();
      },
    });
  });

  it("a worker that nobody hears: missing while it is cut off, running when it is back", async () => {
    await underFault(lab, {
      name: "partition of a worker from every control plane",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async () => {
        for (const control of ["cp1", "cp2", "cp3"]) await lab.network.cut("w2", control);
        const cut = performance.now();
        await expect.poll(() => statesOn("w2"), { timeout: 20_000 }).toEqual(["missing"]);
        const missing = performance.now() - cut;
        await last(SILENT_MS - missing);
        await lab.network.healAll();
        return { missing_after_s: seconds(missing) };
      },
    });
  });

  it("a worker that one control plane does not hear is still shown as it is, by all", async () => {
    await underFault(lab, {
      name: "partition of a worker from one control plane",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async () => {
        await lab.network.cut("w3", "cp2");
        await last(SILENT_MS);
        for (const control of lab.controls) {
          const { items } = await control.json<{ items: SandboxInfo[] }>("GET", "/sandboxes?limit=1000&worker_id=w3");
          expect(items.map((one) => one.state).filter((state) => state !== "running" && state !== "creating")).toEqual([]);
        }
        await lab.network.healAll();
      },
    });
  });

  it("what a worker says is lost, and what it is told arrives", async () => {
    await underFault(lab, {
      name: "asymmetric partition: a worker is not heard",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async () => {
        for (const control of ["cp1", "cp2", "cp3"]) await lab.network.cut("w2", control, "forth");
        await expect.poll(() => statesOn("w2"), { timeout: 20_000 }).toEqual(["missing"]);
        await lab.network.healAll();
      },
    });
  });

  it("a control plane cut off from PostgreSQL refuses, and the others go on", async () => {
    await underFault(lab, {
      name: "partition of a control plane from PostgreSQL",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async ({ ledger }) => {
        await lab.network.cut("cp3", "pg");
        const refused = await attempt<SandboxInfo>(lab.control("cp3"), "POST", "/sandboxes", { body: {}, timeoutMs: 30_000 });
        expect(refused).toMatchObject({ kind: "refused", status: 503, code: "database_unavailable" });
        const before = ledger.creates.length;
        await until(() => ledger.creates.length > before + 5);
        await lab.network.healAll();
        await expect.poll(() => attempt(lab.control("cp3"), "GET", "/sandboxes", { timeoutMs: 10_000 })).toMatchObject({ kind: "done" });
      },
    });
  });

  it("a worker whose answers come late", async () => {
    await underFault(lab, {
      name: "a worker that answers late",
      trueWithinMs: TRUE_WITHIN_MS + 5_000,
      play: async () => {
        lab.gateway("w5").delay(5_000);
        await last(SILENT_MS);
        expect(await statesOn("w1")).toEqual(["running"]);
        lab.gateway("w5").delay(0);
        // What is on its way is late still.
        await last(5_000);
      },
    });
  });

  it("rolling restart of everything, in order", async () => {
    await underFault(lab, {
      name: "rolling restart of control planes and workers",
      trueWithinMs: TRUE_WITHIN_MS,
      play: async ({ ledger }) => {
        const begun = performance.now();
        for (const process of [...lab.controls, ...lab.workers]) {
          await process.stop();
          await process.up();
        }
        await lab.untilWorkers("online");
        expect(await statesOn("w1")).toEqual(["running"]);
        return { longest_write_gap_s: seconds(longestGap(ledger.creates, begun, performance.now())) };
      },
    });
  });
});
