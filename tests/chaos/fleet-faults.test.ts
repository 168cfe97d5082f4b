import type { Sandbox as SandboxInfo } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { CONTROLS } from "../harness/lab/partition.ts";
import { last, seconds, underFault, until } from "../harness/lab/under-fault.ts";
import { attempt } from "../harness/load/attempt.ts";
import { firstAfter, longestGap } from "../harness/load/ledger.ts";

/** Time after the loss of one control plane in which writes must go on, in ms; where a start takes longer than this, as long as that. */
const WRITES_RESUME_MS = 3_000;
/** One heartbeat of this lab, and what two busy cores need besides, in ms. */
const TRUE_WITHIN_MS = 1_000 + 3_000;
/** After a partition: one heartbeat as it is by default. When packets flow again is up to TCP, which is no faster here. */
const HEALED_WITHIN_MS = 10_000;
/** Longer than a worker may be silent here. */
const SILENT_MS = 11_000;
/** How late what w5 says and is told comes, each way, in ms. */
const LATE_MS = 5_000;

// Heartbeats and limits are ten times as fast as by default; `fleet-partitions.long.test.ts` has the real ones.
const FAST = {
  controlEnv: { CAISSON_WORKERS__LATE_AFTER: "3s", CAISSON_WORKERS__UNREACHABLE_AFTER: "9s" },
  workerEnv: { CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s" },
} as const;

describe.skipIf(labMissing() !== undefined)("three control planes and five workers under load", { timeout: 900_000 }, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({ controlPlanes: 3, workers: 5, nat: ["w5"], clocks: { w4: "+1h" }, ...FAST });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  /** States of the sandboxes of a worker, each once. One whose creation nobody knows the outcome of is that, and no more. */
  async function statesOn(workerId: string, control: ApiAccess = lab.control("cp1")): Promise<string[]> {
    const { items } = await control.json<{ items: SandboxInfo[] }>("GET", `/sandboxes?limit=1000&worker_id=${workerId}`);
    return [...new Set(items.map((one) => one.state))].filter((state) => state !== "creating").toSorted();
  }

  /** Waits until a command is run there: links that lose all packets count as links for a while. */
  async function untilDone(control: ApiAccess, path: string): Promise<void> {
    const run = (): ReturnType<typeof attempt> => attempt(control, "POST", path, { body: { command: "true" }, timeoutMs: 5_000 });
    await expect.poll(run, { timeout: 40_000 }).toMatchObject({ kind: "done", body: { exit_code: 0 } });
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
        await control.up();
        const within = Math.max(WRITES_RESUME_MS, control.upMs);
        expect(resumed).toBeLessThan(within);
        expect(gap).toBeLessThan(within);
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
        await expect.poll(() => statesOn("w1")).toEqual(["missing"]);
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
        const refused = await attempt<SandboxInfo>(lab.control("cp2"), "POST", "/sandboxes", { body: {}, timeoutMs: 60_000 });
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

  it("cut off from all, from one, and from the database: missing, running, and refused", async () => {
    await underFault(lab, {
      name: "partition of w2 from every control plane, of w3 from cp2, of cp3 from PostgreSQL",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async ({ ledger }) => {
        const cut = performance.now();
        for (const control of CONTROLS) await lab.network.cut("w2", control);
        await lab.network.cut("w3", "cp2");
        await lab.network.cut("cp3", "pg");
        const refused = await attempt<SandboxInfo>(lab.control("cp3"), "POST", "/sandboxes", { body: {}, timeoutMs: 60_000 });
        expect(refused).toMatchObject({ kind: "refused", status: 503, code: "database_unavailable" });
        await expect.poll(() => statesOn("w2")).toEqual(["missing"]);
        const missing = performance.now();
        const before = ledger.creates.length;
        await until(() => ledger.creates.length > before + 5);
        await last(SILENT_MS - (performance.now() - cut));
        // The worker that one control plane does not hear is shown as it is, by that one too, and reached by way of another.
        for (const by of ["cp1", "cp2"]) await expect.poll(() => statesOn("w3", lab.control(by))).toEqual(["running"]);
        await untilDone(lab.control("cp2"), `/sandboxes/${ledger.live.find(({ workerId }) => workerId === "w3")?.id}/exec`);
        await lab.network.healAll();
        return { missing_after_s: seconds(missing - cut) };
      },
    });
  });

  it("what a worker says is lost, and what it is told arrives; another one answers late", async () => {
    await underFault(lab, {
      name: "asymmetric partition: w2 is not heard; w5 is 5 s late",
      trueWithinMs: HEALED_WITHIN_MS,
      play: async () => {
        const begun = performance.now();
        for (const control of CONTROLS) await lab.network.cut("w2", control, "forth");
        lab.gateway("w5").delay(LATE_MS);
        await expect.poll(() => statesOn("w2")).toEqual(["missing"]);
        await last(SILENT_MS - (performance.now() - begun));
        await expect.poll(() => statesOn("w1")).toEqual(["running"]);
        lab.gateway("w5").delay(0);
        // What is on its way is late still.
        await last(LATE_MS);
        await lab.network.healAll();
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
        await expect.poll(() => statesOn("w1")).toEqual(["running"]);
        return { longest_write_gap_s: seconds(longestGap(ledger.creates, begun, performance.now())) };
      },
    });
  });
});
