import type { Worker } from "@caisson/sdk";
import { expect, it } from "vitest";
import { describeWorker, loadOf, stateOf } from "./worker-view.ts";

const AT = "2027-01-15T08:00:00.000Z";
const WORKER: Worker = {
  id: "worker-a",
  state: "online",
  late: false,
  draining: "no",
  version: "0.1.0",
  credential: "certificate",
  labels: { gpu: "yes", zone: "a" },
  tenant_id: null,
  providers: [],
  capacity: { vcpus: 8, memory_mb: 15_872, disk_mb: 0, sandboxes: 0 },
  reserved: { vcpus: 2.5, memory_mb: 1024, disk_mb: 0, sandboxes: 3 },
  used: { vcpus: 0.25, memory_mb: 512, disk_mb: 0, sandboxes: 3 },
  preview_domain: null,
  public_url: null,
  public_url_problem: null,
  advertise_addr: null,
  on_control_loss: "run",
  last_heartbeat_at: null,
  created_at: AT,
  updated_at: AT,
};

it.each([
  [{}, "online"],
  [{ late: true }, "online, late"],
  [{ state: "draining", draining: "admin" }, "draining"],
  [{ state: "draining", draining: "worker" }, "draining, shuts down"],
  [{ state: "draining", draining: "admin", late: true }, "draining, late"],
  [{ state: "unreachable", late: true }, "unreachable"],
  [{ state: "removed", late: true }, "removed"],
] as const)("says how a worker is: %j", (change, told) => expect(stateOf({ ...WORKER, ...change })).toBe(told));

it("shows what was promised of what there is", () => {
  const shown = (["sandboxes", "vcpus", "memory_mb", "disk_mb"] as const).map((what) => loadOf(WORKER, what));
  expect(shown).toEqual(["3", "2.5/8", "1/15.5 GiB", "-"]);
  expect(loadOf({ ...WORKER, capacity: { ...WORKER.capacity, sandboxes: 10 } }, "sandboxes")).toBe("3/10");
});

it("tells all that is known, and nothing that is not", () => {
  const told = Object.fromEntries(describeWorker(WORKER));
  expect(told).toMatchObject({ heard: "never", labels: "gpu=yes zone=a", memory: "1/15.5 GiB promised, 0.5 GiB in use" });
  expect(Object.keys(told)).not.toContain("tenant");
});

it("says of a public address at which a worker does not find itself that clients may", () => {
  const wrong = { public_url: "https://w.example.org", public_url_problem: "nothing answers: ECONNREFUSED" };
  expect(new Map(describeWorker({ ...WORKER, ...wrong })).get("direct?")).toBe(
    "it does not find itself there: nothing answers: ECONNREFUSED; clients may, all the same",
  );
  expect(new Map(describeWorker({ ...WORKER, ...wrong, public_url_problem: null })).has("direct?")).toBe(false);
});
