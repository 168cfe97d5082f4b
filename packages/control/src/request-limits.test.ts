import { configSchema } from "@caisson/contract";
import { expect, it } from "vitest";
import { controlDefaults, type ControlDefaults } from "./control-defaults.ts";
import { ttlOf } from "./request-limits.ts";

const DEFAULTS: ControlDefaults = { image: "host", ttlMs: 60_000, maxTtlMs: 120_000, maxSandboxes: 0 };

it("bounds the time to live", () => {
  expect(ttlOf(undefined, DEFAULTS)).toBe(60_000);
  expect(ttlOf(undefined, { ...DEFAULTS, ttlMs: 500_000 })).toBe(120_000);
  expect(ttlOf("2m", DEFAULTS)).toBe(120_000);
  expect(() => ttlOf("121s", DEFAULTS)).toThrow("max_ttl");
  expect(() => ttlOf("soon", DEFAULTS)).toThrow("ttl");
});

it("takes defaults from the configuration", () => {
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
