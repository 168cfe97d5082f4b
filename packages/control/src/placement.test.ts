import {
  NO_CAPABILITIES,
  configSchema,
  type Capabilities,
  type CreateSandbox,
  type ProviderReport,
  type WorkerDescription,
} from "@caisson/contract";
import { describe, expect, it } from "vitest";
import { controlDefaults, type ControlDefaults } from "./control-defaults.ts";
import { place, ttlOf, type Placement } from "./placement.ts";

const DEFAULTS: ControlDefaults = { image: "host", ttlMs: 60_000, maxTtlMs: 120_000, memoryMb: 256, vcpus: 1, pids: 100, maxSandboxes: 0 };
const ALL: Capabilities = {
  ...NO_CAPABILITIES,
  limit_memory: true,
  limit_cpu: true,
  limit_pids: true,
  images: true,
  users: true,
};

function provider(name: string, overrides: Partial<ProviderReport> = {}): ProviderReport {
  return { name, tier: "container", available: true, capabilities: ALL, runtimes: [], ...overrides };
}

function worker(workerId: string, ...providers: ProviderReport[]): WorkerDescription {
  return { workerId, version: "1", previewDomain: null, providers };
}

function put(request: CreateSandbox, workers: readonly WorkerDescription[], load: Record<string, number> = {}): Placement {
  return place(request, DEFAULTS, workers, new Map(Object.entries(load)));
}

function refusal(request: CreateSandbox, ...workers: WorkerDescription[]): unknown {
  try {
    return put(request, workers);
  } catch (error) {
    return error;
  }
}

describe("placement", () => {
  it("takes the provider asked for, else the configured one, else the one the worker prefers", () => {
    const there = [worker("a", provider("one"), provider("two", { default: true }))];
    expect(put({}, there).spec.provider).toBe("two");
    expect(put({ provider: "one" }, there).spec.provider).toBe("one");
    expect(place({}, { ...DEFAULTS, provider: "one" }, there, new Map()).spec.provider).toBe("one");
    expect(refusal({}, worker("a", provider("one")))).toMatchObject({ code: "provider_unavailable" });
    expect(refusal({})).toMatchObject({ code: "worker_unavailable" });
  });

  it("takes the least loaded worker that can do it all", () => {
    const weak = worker("weak", provider("p", { default: true, capabilities: NO_CAPABILITIES }));
    const strong = [worker("b", provider("p", { default: true })), worker("c", provider("p", { default: true }))];
    expect(put({}, [weak, ...strong], { b: 2, c: 1 }).workerId).toBe("weak");
    expect(put({ memory_mb: 64 }, [weak, ...strong], { b: 2, c: 1 }).workerId).toBe("c");
    expect(put({ memory_mb: 64 }, [weak, ...strong], { b: 1, c: 1 }).workerId).toBe("b");
  });

  it("applies defaults where they are enforced, and refuses what was asked for and is not", () => {
    const weak = worker(
      "w",
      provider("p", { default: true, capabilities: { ...NO_CAPABILITIES, limit_pids: true }, limits: { limit_memory: "no cgroup" } }),
    );
    expect(put({}, [weak]).spec.resources).toEqual({ pids: 100 });
    expect(put({ pids: 7 }, [weak]).spec.resources).toEqual({ pids: 7 });
    expect(put({}, [worker("s", provider("p", { default: true }))]).spec.resources).toEqual({ memoryMb: 256, vcpus: 1, pids: 100 });
    expect(refusal({ memory_mb: 64 }, weak)).toMatchObject({
      code: "unsupported",
      message: expect.stringContaining("no cgroup"),
      detail: { field: "memory_mb", provider: "p", reason: "no cgroup", remedy: expect.any(String) },
    });
    expect(refusal({ disk_mb: 64 }, weak)).toMatchObject({ code: "unsupported", detail: { field: "disk_mb" } });
    expect(refusal({ image: "debian:12" }, weak)).toMatchObject({ code: "unsupported", detail: { field: "image" } });
  });

  it("judges a runtime by its own report", () => {
    const there = worker(
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

  it("tells why a provider does not work, and says the most useful of several refusals", () => {
    const broken = worker("a", provider("p", { default: true, available: false, reason: "no crun", remedy: "apt install crun" }));
    expect(refusal({ provider: "p" }, broken)).toMatchObject({
      code: "provider_unavailable",
      detail: { provider: "p", reason: "no crun", remedy: "apt install crun" },
    });
    const lacking = worker("b", provider("p", { default: true, capabilities: NO_CAPABILITIES }));
    expect(refusal({ provider: "p", memory_mb: 64 }, worker("c"), broken, lacking)).toMatchObject({ code: "unsupported" });
    expect(refusal({ provider: "p" }, worker("c"), broken)).toMatchObject({ code: "provider_unavailable" });
    expect(refusal({ provider: "q" }, broken)).toMatchObject({ code: "provider_not_found", detail: { providers: ["p"] } });
    expect(refusal({ network: "open" }, lacking)).toMatchObject({ code: "unsupported", detail: { field: "network" } });
  });

  it("bounds the time to live", () => {
    expect(ttlOf(undefined, DEFAULTS)).toBe(60_000);
    expect(ttlOf(undefined, { ...DEFAULTS, ttlMs: 500_000 })).toBe(120_000);
    expect(ttlOf("2m", DEFAULTS)).toBe(120_000);
    expect(() => ttlOf("121s", DEFAULTS)).toThrow("max_ttl");
    expect(() => ttlOf("soon", DEFAULTS)).toThrow("ttl");
  });

  it("takes its defaults from the configuration", () => {
    const config = configSchema.parse({ defaults: { ttl: "5m", memory_mb: 512, max_sandboxes: 3 }, providers: { default: "oci" } });
    expect(controlDefaults(config)).toEqual({
      image: "host",
      ttlMs: 300_000,
      maxTtlMs: 86_400_000,
      provider: "oci",
      memoryMb: 512,
      pids: 1_024,
      maxSandboxes: 3,
    });
    expect(controlDefaults(configSchema.parse({}))).not.toHaveProperty("provider");
  });
});
