import { TRANSITIONAL_DEADLINES, type CaissonError, type CreateSandbox } from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { Bench } from "./bench.ts";

const DAY: CreateSandbox = { ttl: "24h" };

describe("creating", () => {
  it("runs a box and tells of it, with defaults where they are enforced", async () => {
    await using bench = await Bench.open({ defaults: { vcpus: 2, memoryMb: 100 } });
    const sandbox = await bench.until(bench.orchestrator.create({ metadata: { team: "a" }, env: { A: "1" }, owner_id: "me" }));
    expect(sandbox).toMatchObject({
      state: "running",
      provider: "sim",
      runtime: "sim",
      image: "host",
      memory_mb: 100,
      vcpus: null, // the machine cannot limit CPU: the default is left out
      pids: 64,
      worker_id: "a",
      owner_id: "me",
      metadata: { team: "a" },
      reason: null,
      ended_at: null,
    });
    expect(Date.parse(sandbox.expires_at) - Date.parse(sandbox.created_at)).toBe(1_800_000);
    expect(bench.machine.boxes.get(sandbox.id)?.epoch).toBe(1);
    expect(await bench.orchestrator.get(sandbox.id)).toEqual(sandbox);
    const told = await bench.orchestrator.events({});
    expect(told.map((event) => event.type)).toEqual(["worker.added", "worker.online", "sandbox.created", "sandbox.running"]);
    expect(told[2]?.data).toMatchObject({ worker_id: "a", placement: { strategy: "only", reason: expect.any(String) } });
  });

  it.each<[string, CreateSandbox, string, object]>([
    [
      "a limit that nobody enforces",
      { vcpus: 1 },
      "unsupported",
      { detail: { field: "vcpus", provider: "sim", remedy: expect.any(String) } },
    ],
    ["a network", { network: "open" }, "unsupported", { detail: { field: "network", remedy: expect.any(String) } }],
    ["an unknown provider", { provider: "nope" }, "provider_not_found", { detail: { provider: "nope", providers: ["sim"] } }],
    ["an unknown runtime", { runtime: "nope" }, "unsupported", { detail: { field: "runtime", remedy: expect.any(String) } }],
    ["too long a time", { ttl: "25h" }, "invalid_request", { errors: [{ path: "ttl", message: expect.stringContaining("max_ttl") }] }],
  ])("refuses %s and leaves nothing", async (_, request, code, more) => {
    await using bench = await Bench.open();
    expect(await bench.failure(bench.orchestrator.create(request))).toMatchObject({ code, ...more });
    expect((await bench.orchestrator.list({ state: "all" })).items).toEqual([]);
  });

  it("tells why a box did not start, and cleans up", async () => {
    await using bench = await Bench.open();
    bench.machine.faults.fail = 1;
    const error = (await bench.failure(bench.orchestrator.create(DAY))) as CaissonError;
    expect(error).toMatchObject({ code: "provider_failed", message: "simulated: it does not boot" });
    const id = error.detail?.["sandbox_id"] as string;
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "error", reason: { code: "provider_failed" } });
    bench.machine.faults.fail = 0;
    await bench.pass(30_000);
    expect(await bench.store.leases.get(id)).toBeUndefined();
  });

  it("boots many at once: a slow one holds nobody up", async () => {
    await using bench = await Bench.open();
    bench.machine.hangs = true;
    const slow = bench.orchestrator.create(DAY).catch((error: unknown) => error);
    await bench.pass(1_000);
    bench.machine.hangs = false;
    const others = await bench.until(Promise.all(Array.from({ length: 20 }, () => bench.orchestrator.create(DAY))));
    expect(new Set(others.map((sandbox) => sandbox.id)).size).toBe(20);
    expect((await bench.orchestrator.list({ state: "creating" })).items).toHaveLength(1);
    expect(await bench.until(slow)).toMatchObject({ code: "deadline_exceeded" });
  });

  it("ends a creation that hangs at its deadline", async () => {
    await using bench = await Bench.open();
    bench.machine.hangs = true;
    const begun = bench.simulation.now;
    expect(await bench.failure(bench.orchestrator.create(DAY))).toMatchObject({ code: "deadline_exceeded" });
    expect(bench.simulation.now - begun).toBeLessThan(TRANSITIONAL_DEADLINES.creating + 10_000);
    expect((await bench.orchestrator.list({ state: "creating" })).items).toEqual([]);
  });

  it("goes on when the caller leaves", async () => {
    await using bench = await Bench.open();
    const controller = new AbortController();
    const created = bench.orchestrator.create(DAY, { signal: controller.signal });
    await bench.pass(1);
    controller.abort();
    expect(await bench.failure(created)).toMatchObject({ code: "cancelled" });
    await bench.pass(1_000);
    expect((await bench.orchestrator.list({})).items).toMatchObject([{ state: "running" }]);
  });

  it("keeps the limit on live sandboxes, even at once", async () => {
    await using bench = await Bench.open({ defaults: { maxSandboxes: 3 } });
    const results = await bench.until(Promise.allSettled(Array.from({ length: 8 }, () => bench.orchestrator.create(DAY))));
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(3);
    const refused = results.find((result) => result.status === "rejected");
    expect(refused?.reason).toMatchObject({ code: "resource_limit", retryAfter: 5, detail: { live: 3, max: 3 } });
    const first = (await bench.orchestrator.list({})).items[0];
    await bench.until(bench.orchestrator.destroy(first?.id ?? ""));
    expect(await bench.until(bench.orchestrator.create(DAY))).toMatchObject({ state: "running" });
  });

  it("makes one sandbox per Idempotency-Key, also at once, also after it ended", async () => {
    await using bench = await Bench.open();
    const options = { idempotencyKey: "k" };
    const [a, b] = await bench.until(
      Promise.all([
        bench.orchestrator.create({ ttl: "1h", metadata: { x: "1", y: "2" } }, options),
        bench.orchestrator.create({ metadata: { y: "2", x: "1" }, ttl: "1h" }, options),
      ]),
    );
    expect(b).toEqual(a);
    expect(await bench.failure(bench.orchestrator.create({ ttl: "2h" }, options))).toMatchObject({ code: "idempotency_conflict" });
    await bench.until(bench.orchestrator.destroy(a.id));
    const again = await bench.until(bench.orchestrator.create({ ttl: "1h", metadata: { x: "1", y: "2" } }, options));
    expect(again).toMatchObject({ id: a.id, state: "destroyed" });
    expect(await bench.failure(bench.orchestrator.create(DAY, { idempotencyKey: "" }))).toMatchObject({
      code: "invalid_request",
      errors: [{ path: "Idempotency-Key" }],
    });
  });

  it("answers a repeated key with the same failure", async () => {
    await using bench = await Bench.open();
    bench.machine.faults.fail = 1;
    const first = await bench.failure(bench.orchestrator.create(DAY, { idempotencyKey: "k" }));
    bench.machine.faults.fail = 0;
    const second = await bench.failure(bench.orchestrator.create(DAY, { idempotencyKey: "k" }));
    expect(second).toMatchObject({ code: "provider_failed", detail: (first as CaissonError).detail });
  });
});

describe("ending", () => {
  it("destroys box, lease and all, and may be repeated", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    expect(await bench.until(bench.orchestrator.destroy(id))).toMatchObject({ state: "destroyed", ended_at: expect.any(String) });
    expect(bench.machine.boxes.size).toBe(0);
    expect(await bench.store.leases.get(id)).toBeUndefined();
    expect(await bench.until(bench.orchestrator.destroy(id))).toMatchObject({ state: "destroyed" });
    expect(await bench.failure(bench.orchestrator.destroy("sb000000000000000000000"))).toMatchObject({ code: "sandbox_not_found" });
    expect((await bench.orchestrator.list({})).items).toEqual([]);
    expect((await bench.orchestrator.list({ state: "destroyed" })).items).toHaveLength(1);
  });

  it("wins over a creation under way", async () => {
    await using bench = await Bench.open();
    bench.machine.hangs = true;
    const created = bench.orchestrator.create(DAY).catch((error: unknown) => error);
    await bench.pass(100);
    const id = (await bench.orchestrator.list({})).items[0]?.id ?? "";
    expect(await bench.until(bench.orchestrator.destroy(id))).toMatchObject({ state: "destroyed" });
    expect(await bench.until(created)).toMatchObject({ code: "sandbox_destroyed" });
    await bench.pass(300_000);
    expect(bench.machine.boxes.size).toBe(0);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "destroyed" });
  });

  it("is acknowledged when the worker cannot be reached, and finished when it is back", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    bench.machine.partitioned = true;
    expect(await bench.until(bench.orchestrator.destroy(id))).toMatchObject({ state: "destroyed" });
    expect(bench.machine.boxes.size).toBe(1);
    expect(await bench.store.leases.get(id)).toBeDefined();
    bench.machine.partitioned = false;
    await bench.pass(60_000);
    expect(bench.machine.boxes.size).toBe(0);
    expect(await bench.store.leases.get(id)).toBeUndefined();
  });

  it("comes with the time to live, and an extension counts from now", async () => {
    await using bench = await Bench.open();
    const short = await bench.until(bench.orchestrator.create({ ttl: "10s" }));
    const long = await bench.until(bench.orchestrator.create({ ttl: "10s" }));
    await bench.pass(5_000);
    const extended = await bench.until(bench.orchestrator.extend(long.id, 20_000));
    expect(Date.parse(extended.expires_at) - Date.parse(long.created_at)).toBeGreaterThanOrEqual(25_000);
    await bench.pass(7_000);
    expect(await bench.orchestrator.get(short.id)).toMatchObject({ state: "expired", reason: { code: "ttl_passed" } });
    expect(await bench.orchestrator.get(long.id)).toMatchObject({ state: "running" });
    expect([...bench.machine.boxes.keys()]).toEqual([long.id]);
    await bench.pass(15_000);
    expect(await bench.orchestrator.get(long.id)).toMatchObject({ state: "expired" });
    expect(await bench.failure(bench.orchestrator.extend(long.id, 1_000))).toMatchObject({ code: "sandbox_destroyed" });
    const other = await bench.until(bench.orchestrator.create(DAY));
    for (const ttl of [0, -1, Number.NaN, 86_400_001]) {
      expect(await bench.failure(bench.orchestrator.extend(other.id, ttl))).toMatchObject({
        code: "invalid_request",
        errors: [{ path: "ttl" }],
      });
    }
  });

  it("is neither hastened nor put off by a clock that is set", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create({ ttl: "1m" }));
    bench.wall.offset += 3_600_000;
    await bench.pass(30_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "running" });
    bench.wall.offset -= 7_200_000;
    await bench.pass(20_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "running" });
    await bench.pass(12_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "expired" });
  });
});

describe("reconciliation", () => {
  it("notices a box that ended, and says so", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    bench.machine.kill(id, "vanished");
    await bench.pass(15_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "stopped", reason: { code: "box_gone" } });
    expect(await bench.store.leases.get(id)).toBeUndefined();
  });

  it("destroys boxes that nobody owns", async () => {
    await using bench = await Bench.open();
    bench.machine.boxes.set("sborphan", { epoch: 3, state: "running", provider: "sim", image: "host" });
    await bench.pass(15_000);
    expect(bench.machine.boxes.size).toBe(0);
  });

  it("marks sandboxes of a worker out of reach as missing, and finds them again", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    bench.machine.partitioned = true;
    await bench.pass(25_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "running" });
    await bench.pass(20_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "unhealthy", reason: { code: "worker_unavailable" } });
    await bench.pass(70_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "missing", reason: { code: "worker_unavailable" } });
    expect(await bench.orchestrator.health()).toMatchObject({ store: true, workers: { online: 0, unreachable: 1 } });
    expect(await bench.failure(bench.orchestrator.withGuest(id, "stats", (guest) => guest.stats()))).toMatchObject({
      code: "worker_unavailable",
      entry: { status: 503 },
    });
    bench.machine.partitioned = false;
    await bench.pass(30_000);
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "running", reason: null });
    expect(await bench.orchestrator.health()).toMatchObject({ store: true, workers: { online: 1, unreachable: 0 } });
  });

  it("shows an agent that falls silent and one that speaks again", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    const box = bench.machine.boxes.get(id);
    if (box === undefined) throw new Error("no box");
    box.state = "unhealthy";
    expect(await bench.failure(bench.orchestrator.withGuest(id, "stats", (guest) => guest.stats()))).toMatchObject({
      code: "agent_unreachable",
    });
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "unhealthy" });
    box.state = "running";
    await bench.until(bench.orchestrator.withGuest(id, "stats", (guest) => guest.stats()));
    expect(await bench.orchestrator.get(id)).toMatchObject({ state: "running" });
  });
});

describe("using a sandbox", () => {
  it("refuses by state, each with its code", async () => {
    await using bench = await Bench.open();
    const use = (id: string): Promise<unknown> => bench.failure(bench.orchestrator.withGuest(id, "stats", (guest) => guest.stats()));
    expect(await use("sb000000000000000000000")).toMatchObject({ code: "sandbox_not_found" });
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    await bench.until(bench.orchestrator.destroy(id));
    expect(await use(id)).toMatchObject({ code: "sandbox_destroyed", detail: { state: "destroyed" } });
    expect(await bench.failure(bench.orchestrator.logs(id, { lines: 10 }))).toMatchObject({ code: "sandbox_destroyed" });
    bench.machine.hangs = true;
    bench.orchestrator.create(DAY).catch(() => undefined); // ends with the bench
    await bench.pass(100);
    const creating = (await bench.orchestrator.list({})).items[0]?.id ?? "";
    expect(await use(creating)).toMatchObject({ code: "state_conflict", detail: { state: "creating" } });
  });

  it("says that a sandbox has ended when its box turns out to be gone", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY));
    bench.machine.kill(id, "vanished");
    expect(await bench.failure(bench.orchestrator.withGuest(id, "stats", (guest) => guest.stats()))).toMatchObject({
      code: "sandbox_destroyed",
      detail: { state: "stopped" },
    });
  });

  it("writes one line per operation, and what was done only at debug", async () => {
    await using bench = await Bench.open();
    const { id } = await bench.until(bench.orchestrator.create(DAY, { requestId: "r1" }));
    await bench.until(bench.orchestrator.withGuest(id, "exec", () => Promise.resolve(1), { requestId: "r2", detail: "rm -rf secret" }));
    const failing = bench.orchestrator.withGuest(id, "exec", () => Promise.reject(new RangeError("a bug")), { requestId: "r3" });
    expect(await bench.failure(failing)).toMatchObject({ code: "internal" });
    const lines = bench.lines.filter((line) => line.message === "operation");
    expect(lines.map((line) => [line.level, line.fields["operation"], line.fields["request_id"], line.fields["outcome"]])).toEqual([
      ["info", "create", "r1", "ok"],
      ["info", "exec", "r2", "ok"],
      ["error", "exec", "r3", "internal"],
    ]);
    for (const line of lines) expect(line.fields).toMatchObject({ sandbox_id: id, duration_ms: expect.any(Number) });
    expect(JSON.stringify(bench.lines.filter((line) => line.level !== "debug"))).not.toContain("secret");
    expect(JSON.stringify(bench.lines)).toContain("rm -rf secret");
  });
});

describe("lists", () => {
  it("filter by state and labels, and name what is wrong with a query", async () => {
    await using bench = await Bench.open();
    const [one, two] = await bench.until(
      Promise.all([bench.orchestrator.create({ metadata: { team: "a", n: "1" } }), bench.orchestrator.create({ metadata: { team: "a" } })]),
    );
    const ids = async (query: Parameters<typeof bench.orchestrator.list>[0]): Promise<string[]> =>
      (await bench.orchestrator.list(query)).items.map((item) => item.id);
    expect((await ids({ metadata: "team=a" })).toSorted()).toEqual([one.id, two.id].toSorted());
    expect(await ids({ metadata: ["team=a", "n=1"] })).toEqual([one.id]);
    expect(await ids({ metadata: "team=b" })).toEqual([]);
    expect(await ids({ state: "running, unhealthy", limit: 1 })).toHaveLength(1);
    expect(await ids({ state: "paused" })).toEqual([]);
    expect(await ids({ worker_id: one.worker_id })).toHaveLength(2);
    expect(await ids({ worker_id: "elsewhere" })).toEqual([]);
    for (const [query, path] of [
      [{ state: "sleeping" }, "state"],
      [{ metadata: "team" }, "metadata"],
      [{ metadata: ["a=1", "a=2"] }, "metadata"],
      [{ cursor: "nonsense" }, "cursor"],
    ] as const) {
      expect(await bench.failure(bench.orchestrator.list(query as never))).toMatchObject({ code: "invalid_request", errors: [{ path }] });
    }
  });
});

describe("closing", () => {
  it("takes no new work, waits for what is under way, and leaves the rest to the next start", async () => {
    const bench = await Bench.open();
    bench.machine.hangs = true;
    const created = bench.orchestrator.create(DAY).catch((error: unknown) => error);
    await bench.pass(100);
    const begun = bench.simulation.now;
    await bench.until(bench.orchestrator.close());
    expect(bench.simulation.now - begun).toBeLessThan(15_000);
    expect(await created).toMatchObject({ code: "deadline_exceeded" });
    expect(await bench.failure(bench.orchestrator.create(DAY))).toMatchObject({ code: "shutting_down" });
    expect((await bench.store.sandboxes.list({ states: ["creating"], metadata: {}, limit: 9 })).items).toHaveLength(1);
    await bench.store.close();
  });
});
