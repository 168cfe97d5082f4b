import type { Worker } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Lab } from "../harness/lab/lab.ts";
import { labMissing } from "../harness/lab/lab-place.ts";
import { last, underFault } from "../harness/lab/under-fault.ts";
import { LIGHT_LOAD, type LoadShape } from "../harness/load/load.ts";

/** Life of a token here; it is renewed at half of that, and a busy machine has the other half for it. */
const TOKEN_MS = 20_000;
const TRUE_WITHIN_MS = 1_000 + 3_000;
const SHAPE: LoadShape = {
  ...LIGHT_LOAD,
  creators: 1,
  runners: 2,
  streams: 2,
  keep: 4,
  request: (n) => (n < 2 ? { worker_id: `w${n + 1}` } : {}),
};

describe.skipIf(labMissing() !== undefined)("workers that registered, under load", { timeout: 900_000 }, () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.start({
      controlPlanes: 2,
      workers: 2,
      nat: ["w2"],
      joined: ["w1", "w2"],
      controlEnv: {
        CAISSON_WORKERS__TOKEN_TTL: `${TOKEN_MS}ms`,
        CAISSON_WORKERS__LATE_AFTER: "3s",
        CAISSON_WORKERS__UNREACHABLE_AFTER: "9s",
      },
      workerEnv: { CAISSON_WORKER__HEARTBEAT_INTERVAL: "1s" },
    });
  });
  afterAll(() => lab[Symbol.asyncDispose]());

  const renewals = (worker: string): number => lab.worker(worker).output.split("credentials were renewed").length - 1;
  /** Links with workers that have ended on any control plane since the lab began. */
  const linksEnded = (): number =>
    lab.controls.reduce((sum, { output }) => sum + output.split("a link with a worker has ended").length - 1, 0);
  /** What was refused of a worker since the lab began, by the reasons in the events. */
  async function refusals(worker: string): Promise<string[]> {
    const { items } = await lab.api.json<{ items: { resource_id: string; data: { reason?: string } }[] }>(
      "GET",
      "/events?type=worker.refused&limit=1000",
    );
    return items.filter((event) => event.resource_id === worker).map((event) => event.data.reason ?? "");
  }

  it("renew their tokens and their links while they work", async () => {
    const { items } = await lab.api.json<{ items: Worker[] }>("GET", "/workers", undefined, { headers: { "x-api-key": lab.api.adminKey } });
    expect(items.map((one) => one.credential)).toEqual(["certificate", "certificate"]);
    await underFault(lab, {
      name: "tokens renewed under load",
      shape: SHAPE,
      trueWithinMs: TRUE_WITHIN_MS,
      play: async () => {
        const [before, ended] = [renewals("w1"), linksEnded()];
        await last(1.5 * TOKEN_MS);
        await expect.poll(() => renewals("w1")).toBeGreaterThanOrEqual(before + 2);
        // Each outlives the token that it was opened with.
        expect(linksEnded()).toBe(ended);
        return { renewals: renewals("w1") - before };
      },
    });
  });

  it("come back with a token that has expired", async () => {
    await underFault(lab, {
      name: "an expired token",
      shape: SHAPE,
      trueWithinMs: TRUE_WITHIN_MS,
      play: async () => {
        await lab.worker("w1").kill9();
        await last(TOKEN_MS + 1_000);
        await lab.worker("w1").up();
        await lab.untilWorkers("online");
        await expect.poll(() => renewals("w1")).toBeGreaterThanOrEqual(1);
      },
    });
  });

  it("are not locked out when the answer to a renewal is lost, twice", async () => {
    await underFault(lab, {
      name: "the answer to a renewal lost in the middle of rotation",
      shape: SHAPE,
      trueWithinMs: TRUE_WITHIN_MS,
      play: async () => {
        const before = renewals("w2");
        await lab.gateway("w2").swallow("POST /api/v1/workers/refresh");
        await lab.gateway("w2").swallow("POST /api/v1/workers/refresh");
        await expect.poll(() => renewals("w2"), { timeout: 180_000 }).toBeGreaterThan(before + 1);
        await lab.untilWorkers("online");
        expect((await refusals("w2")).filter((reason) => reason.includes("refresh"))).toEqual([]);
      },
    });
  });
});
