import { systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { openPostgres, type PostgresStore } from "../open-postgres.ts";
import { reserveRequest, STOPPED } from "../testing/reserve-request.ts";

let postgres: TestPostgres;
let stores: PostgresStore[] = [];
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());
beforeEach(async () => {
  const dsn = postgres.makeDatabase();
  // All at once: one of them migrates.
  stores = await Promise.all([1, 2, 3].map(() => openPostgres({ dsn, clock: systemClock, maxConnections: 10 })));
});
afterEach(async () => void (await Promise.all(stores.map((store) => store.close()))));

function each<T>(times: number, work: (store: PostgresStore, i: number) => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: times }, (_, i) => work(stores[i % stores.length] as PostgresStore, i)));
}

it("keeps the most live sandboxes, however many control planes count", async () => {
  for (let round = 0; round < 5; round += 1) {
    const most = (round + 1) * 5;
    const results = await each(24, (store, i) => store.sandboxes.reserve(reserveRequest(`sb${round}x${i}`, { maxLive: most })));
    expect(results.filter((result) => result.kind === "reserved")).toHaveLength(5);
  }
});

it("makes one sandbox for a key, however many control planes get it", async () => {
  for (let round = 0; round < 10; round += 1) {
    const idempotency = { key: `key ${round}`, requestHash: "h" };
    const results = await each(9, (store, i) => store.sandboxes.reserve(reserveRequest(`sb${round}x${i}`, { idempotency })));
    expect(results.filter((result) => result.kind === "reserved")).toHaveLength(1);
    expect(results.filter((result) => result.kind === "repeated")).toHaveLength(8);
    expect(new Set(results.map((result) => ("sandbox" in result ? result.sandbox.id : ""))).size).toBe(1);
  }
});

it("lets no process run on in a sandbox that has ended", async () => {
  const [first] = stores;
  for (let round = 0; round < 20; round += 1) {
    const id = `sb${round}`;
    await first?.sandboxes.reserve(reserveRequest(id));
    await Promise.all([
      ...[1, 2, 3].map((processId) =>
        stores[processId % 3]?.execLog.write(
          [
            {
              sandboxId: id,
              processId,
              kind: "exec",
              command: "x",
              args: [],
              cut: false,
              user: null,
              workdir: null,
              startedAt: 0,
              keyName: null,
              requestId: null,
            },
          ],
          [],
        ),
      ),
      stores[1]?.sandboxes.apply(id, 1, STOPPED),
    ]);
  }
  expect(await first?.execLog.running()).toEqual([]);
});

it("loses no change of a webhook to another one at the same time", async () => {
  const settings = { url: "http://x/", events: [], sandboxId: null, active: true };
  await stores[0]?.webhooks.create("wh", settings, "whsec_1");
  await Promise.all([
    stores[0]?.webhooks.update("wh", { url: "http://y/" }),
    stores[1]?.webhooks.update("wh", { events: ["sandbox.*"] }),
    stores[2]?.webhooks.update("wh", { active: false }),
  ]);
  expect(await stores[0]?.webhooks.get("wh")).toMatchObject({ url: "http://y/", events: ["sandbox.*"], active: false });
});

it("hands what is due to one control plane each, and to another when that one does not end it", async () => {
  let now = 1_000_000;
  const dsn = postgres.makeDatabase();
  const time = { now: () => now };
  const both = await Promise.all([1, 2].map(() => openPostgres({ dsn, clock: systemClock, time })));
  try {
    const [one, other] = both as [PostgresStore, PostgresStore];
    for (let i = 0; i < 30; i += 1) await one.sandboxes.reserve(reserveRequest(`sb${i}`, { ttlMs: 1 }));
    now += 10_000;
    const taken = await Promise.all([one, other, one, other].map((store) => store.deadlines.due(10)));
    const ids = (of: number): string[] => (taken[of] ?? []).map((row) => row.id);
    const others = new Set([...ids(1), ...ids(3)]);
    expect([...ids(0), ...ids(2)].filter((id) => others.has(id))).toEqual([]);
    // What was locked for a moment in one call is had in the next: nothing falls between the two.
    const [mine, its] = [await one.deadlines.due(100), await other.deadlines.due(100)];
    expect(new Set([...mine, ...its].map((row) => row.id)).size).toBe(mine.length + its.length);
    expect(mine.length + its.length).toBe(30);
    now += 5_000;
    expect(await other.deadlines.due(100)).toHaveLength(30);
  } finally {
    await Promise.all(both.map((store) => store.close()));
  }
});

it("goes on when a newer control plane changes the tables", async () => {
  const dsn = postgres.makeDatabase();
  const store = await openPostgres({ dsn, clock: systemClock, maxConnections: 2 });
  try {
    const use = async (id: string): Promise<void> => {
      await store.sandboxes.reserve(reserveRequest(id));
      expect(await store.sandboxes.get(id)).toMatchObject({ id });
      expect(await store.sandboxes.extend(id, 1, 1_000)).toMatchObject({ version: 2 });
    };
    // Often enough that every connection keeps the statements parsed.
    for (let i = 0; i < 8; i += 1) await use(`sb${i}`);
    postgres.sql("alter table sandboxes add column later text", dsn);
    for (let i = 0; i < 8; i += 1) await use(`sbnew${i}`);
  } finally {
    await store.close();
  }
});

it("takes text that PostgreSQL does not have", async () => {
  await stores[0]?.sandboxes.reserve(reserveRequest("sb", { metadata: { a: "x\0y" } }));
  expect(await stores[0]?.sandboxes.get("sb")).toMatchObject({ metadata: { a: "x\0y" } });
  const result = { responseCode: 200, responseBody: "a\0b\uD800", error: null, durationMs: 1234567.8 };
  await stores[0]?.webhooks.create("wh", { url: "http://x/", events: [], sandboxId: null, active: true }, "whsec_1");
  const message = { id: "wd", type: "webhook.test", eventSeq: null, body: "{}" };
  const kept = await stores[0]?.deliveries.addFinished("wh", message, "delivered", result);
  expect(kept?.last).toEqual({ ...result, responseBody: "a\uFFFDb\uFFFD" });
});

it("agrees on the time, and on the first keys", async () => {
  const times = stores.map((store) => store.clock.now());
  // Each was measured once, and may be wrong by half of what that took.
  expect(Math.max(...times) - Math.min(...times)).toBeLessThan(10_000);
  const made = await each(9, (store, i) => store.keys.putFirst({ id: "api", name: "api", role: "api", hash: `h${i}`, createdAt: 1 }));
  expect(new Set(made.map((key) => key.hash)).size).toBe(1);
});
