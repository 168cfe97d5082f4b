import { CaissonError, NO_CAPABILITIES, type Capabilities, type CreateSandbox, type ProviderReport } from "@caisson/contract";
import { NO_AMOUNTS, newWorker, type WorkerRecord } from "@caisson/store";
import { describe, expect, it } from "vitest";
import type { ControlDefaults } from "../control-defaults.ts";
import { DEFAULT_PLACEMENT, place, type Candidate, type Placed, type PlacementInput, type PlacementSettings } from "./place.ts";

const DEFAULTS: ControlDefaults = { image: "host", ttlMs: 60_000, maxTtlMs: 120_000, memoryMb: 256, vcpus: 1, pids: 100, maxSandboxes: 0 };
const ALL: Capabilities = { ...NO_CAPABILITIES, limit_memory: true, limit_cpu: true, limit_pids: true, images: true, users: true };

function provider(name: string, overrides: Partial<ProviderReport> = {}): ProviderReport {
  return { name, tier: "container", available: true, capabilities: ALL, runtimes: [], ...overrides };
}

type Given = Partial<WorkerRecord> & { readonly linked?: boolean; readonly late?: boolean };

function worker(id: string, { linked = true, late = false, ...row }: Given = {}): Candidate {
  const providers = [provider("p", { default: true })];
  return { worker: { ...newWorker(id, 0), state: "online", providers, providersDigest: "x", ...row }, linked, late };
}

const withProviders = (id: string, ...providers: ProviderReport[]): Candidate => worker(id, { providers });
const sandboxes = (count: number): WorkerRecord["reserved"] => ({ ...NO_AMOUNTS, sandboxes: count });

function put(
  request: CreateSandbox,
  candidates: readonly Candidate[],
  more: Partial<PlacementInput> & Partial<PlacementSettings> = {},
): Placed {
  const { strategy = "spread", preferLocal = false, overcommit = DEFAULT_PLACEMENT.overcommit, ...rest } = more;
  return place({ request, defaults: DEFAULTS, settings: { strategy, preferLocal, overcommit }, candidates, turn: 0, ...rest });
}

function refusal(request: CreateSandbox, ...candidates: Candidate[]): unknown {
  try {
    return put(request, candidates);
  } catch (error) {
    return error;
  }
}

describe("placement", () => {
  it("takes the provider asked for, else the configured one, else the one the worker prefers", () => {
    const there = [withProviders("a", provider("one"), provider("two", { default: true }))];
    expect(put({}, there).spec.provider).toBe("two");
    expect(put({ provider: "one" }, there).spec.provider).toBe("one");
    expect(put({}, there, { defaults: { ...DEFAULTS, provider: "one" } }).spec.provider).toBe("one");
    expect(refusal({}, withProviders("a", provider("one")))).toMatchObject({ code: "provider_unavailable" });
    expect(refusal({})).toMatchObject({ code: "worker_unavailable", retryAfter: 5, message: "There is no worker." });
  });

  it("applies defaults where they are enforced, and refuses what was asked for and is not", () => {
    const weak = withProviders(
      "w",
      provider("p", { default: true, capabilities: { ...NO_CAPABILITIES, limit_pids: true }, limits: { limit_memory: "no cgroup" } }),
    );
    expect(put({}, [weak]).spec.resources).toEqual({ pids: 100 });
    expect(put({ pids: 7 }, [weak]).spec.resources).toEqual({ pids: 7 });
    expect(put({}, [worker("s")]).spec.resources).toEqual({ memoryMb: 256, vcpus: 1, pids: 100 });
    expect(refusal({ memory_mb: 64 }, weak)).toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("no cgroup"),
      detail: { field: "memory_mb", provider: "p", reason: "no cgroup", remedy: expect.any(String), workers: [{ worker_id: "w" }] },
      errors: [{ path: "memory_mb" }],
    });
    expect(refusal({ disk_mb: 64 }, weak)).toMatchObject({ code: "unsupported", detail: { field: "disk_mb" } });
    expect(refusal({ image: "debian:12" }, weak)).toMatchObject({ code: "unsupported", detail: { field: "image" } });
    expect(refusal({ network: "open" }, weak)).toMatchObject({ code: "unsupported", detail: { field: "network" } });
  });

  it("judges a runtime by its own report", () => {
    const there = withProviders(
      "w",
      provider("p", {
        default: true,
        runtimes: [
          { name: "good", available: true, capabilities: { ...ALL, limit_memory: false } },
          { name: "bad", available: false, reason: "not installed", remedy: "apt install bad" },
        ],
      }),
    );
    expect(put({ runtime: "good" }, [there]).spec).toMatchObject({ runtime: "good", resources: { vcpus: 1, pids: 100 } });
    expect(refusal({ runtime: "good", memory_mb: 64 }, there)).toMatchObject({ code: "unsupported", detail: { field: "memory_mb" } });
    expect(refusal({ runtime: "bad" }, there)).toMatchObject({
      code: "unsupported",
      detail: { field: "runtime", remedy: "apt install bad" },
    });
    expect(refusal({ runtime: "none" }, there)).toMatchObject({ code: "unsupported", detail: { remedy: "It has: good, bad." } });
  });

  it.each<[string, CreateSandbox, Given, string]>([
    ["another one was asked for", { worker_id: "b" }, {}, "Only b was asked for."],
    ["a label is missing", { worker_labels: { zone: "x" } }, { labels: { zone: "y" } }, "It lacks the label zone=x."],
    ["it is another tenant's", { tenant_id: "t" }, { tenantId: "u" }, "It is kept for another tenant."],
    ["it is a tenant's and none was named", {}, { tenantId: "u" }, "It is kept for another tenant."],
    ["it was never heard of", {}, { state: "pending", providers: [], providersDigest: null }, "It has not been heard of yet."],
    ["it tries its providers still", {}, { providers: [], providersDigest: null }, "It still finds out what it can do."],
    ["it cannot be reached", {}, { state: "unreachable" }, "It cannot be reached."],
    ["an admin drains it", {}, { adminDrain: true }, "An admin drains it."],
    ["it drains itself", {}, { selfDrain: true }, "It shuts down."],
    ["it is late", {}, { late: true }, "Its heartbeat is late."],
    ["there is no link to it", {}, { linked: false }, "It has no link to this control plane."],
  ])("passes a worker over because %s", (_, request, given, reason) => {
    const other = worker("b", { labels: { zone: "x" }, reserved: sandboxes(9) });
    const placed = put(request, [worker("a", given), other]);
    expect(placed).toMatchObject({ workerId: "b", record: { placement: { strategy: "only", score: null } } });
    expect(placed.record.placement.refused).toEqual([{ worker_id: "a", code: "worker_unavailable", reason }]);
    const { worker_id: _id, ...alone } = request;
    expect(refusal(request.worker_id === undefined ? alone : { worker_id: "c" }, worker("a", given))).toMatchObject(
      request.worker_id === undefined ? { code: "worker_unavailable", retryAfter: 5 } : { code: "worker_not_found" },
    );
  });

  it("keeps to what a machine has, times the overcommitment, less what was promised", () => {
    const capacity = { vcpus: 2, memory_mb: 1_000, disk_mb: 100, sandboxes: 3 };
    const with1 = (reserved: Partial<WorkerRecord["reserved"]>): Candidate =>
      worker("a", { capacity, reserved: { ...NO_AMOUNTS, ...reserved } });
    expect(put({ memory_mb: 500 }, [with1({ memory_mb: 1_000 })]).bounds).toEqual({
      vcpus: 8,
      memory_mb: 1_500,
      disk_mb: 100,
      sandboxes: 3,
    });
    for (const [reserved, request, words] of [
      [{ memory_mb: 1_001 }, { memory_mb: 500 }, "499 of 1500 MiB of memory"],
      [{ vcpus: 7.5 }, {}, "0.5 of 8 cores"],
      [{ sandboxes: 3 }, {}, "0 of 3 sandboxes"],
    ] as const) {
      expect(refusal(request, with1(reserved))).toMatchObject({
        code: "no_capacity",
        retryAfter: 5,
        message: expect.stringContaining(words),
        entry: { status: 503 },
        detail: { workers: [{ worker_id: "a", code: "no_capacity", reason: expect.stringContaining(words) }] },
      });
    }
    // 0.1 + 0.2 is more than 0.3 in floating point.
    const thirds = worker("a", { capacity: { ...NO_AMOUNTS, vcpus: 0.3 }, reserved: { ...NO_AMOUNTS, vcpus: 0.2 } });
    expect(put({ vcpus: 0.1 }, [thirds], { overcommit: { vcpus: 1, memory: 1, disk: 1 } }).workerId).toBe("a");
  });

  it("spreads, packs, or goes in turn", () => {
    const capacity = { ...NO_AMOUNTS, memory_mb: 10_000 };
    const filled = (id: string, memory_mb: number): Candidate => worker(id, { capacity, reserved: { ...NO_AMOUNTS, memory_mb } });
    const three = [filled("a", 2_000), filled("b", 1_000), filled("c", 9_000)];
    expect(put({}, three)).toMatchObject({
      workerId: "b",
      record: {
        placement: {
          strategy: "spread",
          reason: "The emptiest of 3 workers, with 92 % left.",
          score: expect.closeTo(1.166, 2),
          refused: [],
        },
      },
    });
    expect(put({}, three, { strategy: "pack" })).toMatchObject({ workerId: "c", record: { placement: { strategy: "pack" } } });
    const turns = [0, 1, 2, 3].map((turn) => put({}, three, { strategy: "round_robin", turn }).workerId);
    expect(turns).toEqual(["a", "b", "c", "a"]);
  });

  it("counts sandboxes where nothing else tells workers apart, and goes in turn among equals", () => {
    expect(put({}, [worker("a", { reserved: sandboxes(2) }), worker("b", { reserved: sandboxes(1) })]).workerId).toBe("b");
    expect(put({}, [worker("a", { reserved: sandboxes(2) }), worker("b", { reserved: sandboxes(1) })], { strategy: "pack" }).workerId).toBe(
      "a",
    );
    const equals = [worker("a"), worker("b"), worker("c")];
    expect(new Set([0, 1, 2].map((turn) => put({}, equals, { turn }).workerId)).size).toBe(3);
  });

  it("likes a worker that has the image, and the local one only when told to", () => {
    const two = [worker("a", { reserved: sandboxes(1) }), worker("b", { images: ["debian:12"], reserved: sandboxes(5) })];
    expect(put({ image: "debian:12" }, two)).toMatchObject({
      workerId: "b",
      record: { placement: { reason: "The emptiest of 2 workers, with 100 % left; its image is there." } },
    });
    expect(put({ image: "alpine" }, two).workerId).toBe("a");
    const withLocal = [worker("a"), worker("local", { reserved: sandboxes(5) })];
    expect(put({}, withLocal).workerId).toBe("a");
    expect(put({}, withLocal, { preferLocal: true })).toMatchObject({ workerId: "local" });
  });

  it("says the most useful of several refusals, and what each worker lacked", () => {
    const broken = withProviders("a", provider("p", { default: true, available: false, reason: "no crun", remedy: "apt install crun" }));
    expect(refusal({ provider: "p" }, broken)).toMatchObject({
      code: "provider_unavailable",
      detail: { provider: "p", reason: "no crun", remedy: "apt install crun" },
    });
    const lacking = withProviders("b", provider("p", { default: true, capabilities: NO_CAPABILITIES }));
    const away = worker("d", { state: "unreachable" });
    const full = worker("e", { capacity: sandboxes(1), reserved: sandboxes(1) });
    const asked = { provider: "p", memory_mb: 64 };
    expect(refusal(asked, withProviders("c"), broken, lacking)).toMatchObject({ code: "unsupported" });
    expect(refusal(asked, withProviders("c"), broken)).toMatchObject({ code: "provider_unavailable" });
    expect(refusal({ provider: "q" }, broken)).toMatchObject({ code: "provider_not_found", detail: { providers: ["p"] } });
    expect(refusal(asked, lacking, away)).toMatchObject({
      code: "worker_unavailable",
      message: expect.stringContaining("cannot be reached"),
    });
    const all = refusal(asked, broken, lacking, away, full) as CaissonError;
    expect(all).toMatchObject({ code: "no_capacity" });
    const codes = ["provider_unavailable", "unsupported", "worker_unavailable", "no_capacity"];
    expect(all.detail?.["workers"]).toMatchObject(codes.map((code) => ({ code })));
  });

  it("passes over what failed before, and tells of it", () => {
    const error = new CaissonError("provider_failed", "it does not boot");
    const placed = put({ memory_mb: 64 }, [worker("a"), worker("b")], { excluded: [{ workerId: "a", error }] });
    expect(placed).toMatchObject({
      workerId: "b",
      record: {
        placement: { strategy: "only", refused: [{ worker_id: "a", code: "provider_failed", reason: "it does not boot" }] },
        asked: { memory_mb: 64 },
      },
    });
  });
});
