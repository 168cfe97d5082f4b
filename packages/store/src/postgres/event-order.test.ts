import { systemClock, type Event } from "@caisson/contract";
import { SeededRandom, TestPostgres } from "@caisson/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openPostgres, type PostgresStore } from "../open-postgres.ts";

const POOLS = 4;
const WRITERS = 6;
const EVENTS = 60;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());

async function openMany(count: number): Promise<{ stores: PostgresStore[]; [Symbol.asyncDispose](): Promise<void> }> {
  const dsn = postgres.makeDatabase();
  const stores = await Promise.all(Array.from({ length: count }, () => openPostgres({ dsn, clock: systemClock, maxConnections: 8 })));
  return { stores, [Symbol.asyncDispose]: async () => void (await Promise.all(stores.map((store) => store.close()))) };
}

/** When an event was begun and acknowledged, in one order of all that happened in the test. */
interface Written {
  readonly begun: number;
  readonly acknowledged: number;
}

it("skips no event for any reader, whoever writes meanwhile, and keeps cause before effect", async () => {
  await using opened = await openMany(POOLS);
  const { stores } = opened;
  const random = new SeededRandom(7);
  const written = new Map<string, Written>();
  let moment = 0;
  const total = POOLS * WRITERS * EVENTS;

  const write = async (store: PostgresStore, name: string): Promise<void> => {
    for (let i = 0; i < EVENTS; i += 1) {
      const id = `${name}-${i}`;
      const begun = ++moment;
      await store.events.add({ type: "image.removed", resourceId: id, sandboxId: null, data: {} });
      written.set(id, { begun, acknowledged: ++moment });
      // What was written is read at once, from wherever.
      if (random.chance(0.5)) {
        const other = random.pick(stores);
        expect((await other.events.before(Number.MAX_SAFE_INTEGER, 200)).map((event) => event.resource_id)).toContain(id);
      }
    }
  };
  const read = async (store: PostgresStore): Promise<Event[]> => {
    const seen: Event[] = [];
    for (let position = 0; seen.length < total;) {
      const page = await store.events.page(position, 7);
      expect(page.oldest).toBeLessThanOrEqual(1);
      seen.push(...page.items);
      position = page.scanned;
      if (page.items.length === 0) await systemClock.sleep(2);
    }
    return seen;
  };
  const writers = stores.flatMap((store, pool) => Array.from({ length: WRITERS }, (_, i) => write(store, `w${pool}x${i}`)));
  const [first = [], ...others] = await Promise.all([...stores, ...stores].map(read));
  await Promise.all(writers);

  expect(first.map((event) => event.seq)).toEqual(Array.from({ length: total }, (_, i) => i + 1));
  expect(new Set(first.map((event) => event.resource_id)).size).toBe(total);
  for (const other of others) expect(other).toEqual(first);
  let earliestAfter = Infinity;
  for (const event of first.toReversed()) {
    const { begun, acknowledged } = written.get(event.resource_id) ?? { begun: 0, acknowledged: 0 };
    // Nothing later in the order was acknowledged before this one was begun.
    expect(earliestAfter).toBeGreaterThan(begun);
    earliestAfter = Math.min(earliestAfter, acknowledged);
  }
});

it("tells other processes, also after the connection that hears was broken", async () => {
  await using opened = await openMany(2);
  const [writer, hearer] = opened.stores;
  if (writer === undefined || hearer === undefined) throw new Error("no stores");
  const heard = (): Promise<void> =>
    new Promise((resolve) => {
      const stop = hearer.events.onAppend(() => {
        stop();
        resolve();
      });
    });
  const add = (): Promise<void> => writer.events.add({ type: "image.removed", resourceId: "x", sandboxId: null, data: {} });
  const first = heard();
  await add();
  await first;
  const again = heard();
  postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen%' or query = 'select 1'");
  // It rings when it listens again, for it may have missed something; and then for what is written.
  await again;
  const third = heard();
  await add();
  await third;
  expect(await hearer.events.after(0, 10)).toHaveLength(2);
});

it("hands a singleton on when the one who has it loses its connection, or ends", async () => {
  await using opened = await openMany(2);
  let running = 0;
  const log: string[] = [];
  const turns: PromiseWithResolvers<void>[] = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  const stops = opened.stores.map(() => new AbortController());
  const runs = opened.stores.map((store, i) =>
    store.singleton(
      "test",
      async (signal) => {
        running += 1;
        expect(running).toBe(1);
        log.push(`begun ${i}`);
        turns[log.filter((line) => line.startsWith("begun")).length - 1]?.resolve();
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        running -= 1;
        log.push(`ended ${i}`);
      },
      stops[i]?.signal ?? AbortSignal.abort(),
    ),
  );
  await turns[0]?.promise;
  postgres.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted");
  await turns[1]?.promise;
  const now = Number(log.at(-1)?.slice(-1));
  stops[now]?.abort();
  await turns[2]?.promise;
  for (const stop of stops) stop.abort();
  await Promise.all(runs);
  expect(log.filter((line) => line.startsWith("begun"))).toHaveLength(3);
  expect(running).toBe(0);
});
