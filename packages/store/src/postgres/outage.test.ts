import { spawnSync } from "node:child_process";
import { isCaissonError, systemClock } from "@caisson/contract";
import { TestPostgres } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openPostgres, type PostgresStore } from "../open-postgres.ts";

let postgres: TestPostgres;
beforeEach(async () => {
  postgres = await TestPostgres.start();
});
afterEach(() => postgres[Symbol.asyncDispose]());

const EVENT = { type: "image.removed", resourceId: "x", sandboxId: null, data: {} } as const;

/** Time for any call to come to an end, in ms: what a statement and the wait for a connection may take, twice over. */
const ANSWERED_MS = 40_000;

/** Ends with what a call came to, and how long that took. */
async function outcome(call: () => Promise<unknown>): Promise<{ readonly kind: "done" | "unavailable"; readonly ms: number }> {
  const begun = performance.now();
  const took = (): number => performance.now() - begun;
  try {
    await call();
    return { kind: "done", ms: took() };
  } catch (error) {
    if (!isCaissonError(error, "database_unavailable")) throw error;
    expect(error.retryAfter).toBe(1);
    return { kind: "unavailable", ms: took() };
  }
}

/** Every kind of call. */
const CALLS: ((store: PostgresStore) => Promise<unknown>)[] = [
  (store) => store.ping(),
  (store) => store.sandboxes.get("x"),
  (store) => store.events.after(0, 10),
  (store) => store.events.page(0, 10),
  (store) => store.events.add(EVENT),
  (store) => store.keys.list(),
  (store) => store.purge(),
  (store) => store.execLog.write([], [{ sandboxId: "x", processId: 1, endedAt: 1, exit: null }]),
  (store) => store.clusterSecrets.getOrMake("x", () => "y"),
];

it("answers every call while the database is killed, and goes on when it is back", async () => {
  await using store = await openPostgres({ dsn: postgres.dsn(), clock: systemClock, maxConnections: 6 });
  let acknowledged = 0;
  let asked = true;
  const load = Array.from({ length: 8 }, async () => {
    let failed = 0;
    while (asked) {
      const { kind, ms } = await outcome(() => store.events.add(EVENT));
      expect(ms).toBeLessThan(ANSWERED_MS);
      if (kind === "done") acknowledged += 1;
      else {
        failed += 1;
        await systemClock.sleep(20);
      }
    }
    return failed;
  });
  await systemClock.sleep(300);
  await postgres.kill9();
  for (const call of CALLS) {
    const { kind, ms } = await outcome(() => call(store));
    expect(kind).toBe("unavailable");
    expect(ms).toBeLessThan(ANSWERED_MS);
  }
  await postgres.up();
  await expect.poll(async () => (await outcome(() => store.ping())).kind).toBe("done");
  const before = acknowledged;
  await expect.poll(() => acknowledged).toBeGreaterThan(before + 20);
  asked = false;
  const failures = await Promise.all(load);
  expect(failures.every((failed) => failed > 0)).toBe(true);
  for (const call of CALLS) expect((await outcome(() => call(store))).kind).toBe("done");
  // What failed may be there all the same; what was acknowledged is.
  expect(Number(postgres.sql("select count(*) from events"))).toBeGreaterThanOrEqual(acknowledged);
});

it("ends calls to a database that hangs", async () => {
  await using store = await openPostgres({ dsn: postgres.dsn(), clock: systemClock, maxConnections: 3 });
  await Promise.all(CALLS.map((call) => call(store)));
  const pids = postgres.sql("select pid from pg_stat_activity where application_name = 'caisson'").split("\n");
  spawnSync("kill", ["-STOP", ...pids]);
  const results = await Promise.all(CALLS.map((call) => outcome(() => call(store))));
  expect(results.filter(({ kind }) => kind === "unavailable").length).toBeGreaterThan(0);
  for (const { ms } of results) expect(ms).toBeLessThan(ANSWERED_MS);
  spawnSync("kill", ["-KILL", "--", ...pids]);
  await expect.poll(async () => (await outcome(() => store.ping())).kind).toBe("done");
});

it("uses whichever host can be written to, and follows when another one takes over", async () => {
  await using other = await TestPostgres.start();
  const readOnly = (which: TestPostgres, on: "on" | "off"): void => {
    which.sql(`alter system set default_transaction_read_only = ${on}`);
    which.sql("select pg_reload_conf()");
    which.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'caisson'");
  };
  // The databases are not copies of each other; only where calls go is looked at.
  {
    await using prepared = await openPostgres({ dsn: other.dsn(), clock: systemClock });
    await prepared.ping();
  }
  const dsn = `postgres://postgres@127.0.0.1:${postgres.port},127.0.0.1:${other.port}/postgres`;
  await using store = await openPostgres({ dsn, clock: systemClock });
  await store.events.add(EVENT);
  expect(postgres.sql("select count(*) from events")).toBe("1");

  readOnly(postgres, "on");
  await expect.poll(async () => (await outcome(() => store.events.add(EVENT))).kind).toBe("done");
  expect(postgres.sql("select count(*) from events")).toBe("1");
  expect(other.sql("select count(*) from events")).toBe("1");

  readOnly(postgres, "off");
  await other.kill9();
  await expect.poll(async () => (await outcome(() => store.events.add(EVENT))).kind).toBe("done");
  expect(postgres.sql("select count(*) from events")).toBe("2");
});

it("says that nobody serves there, or who is refused, without the password", async () => {
  const port = postgres.port;
  await expect(openPostgres({ dsn: `postgres://postgres@127.0.0.1:${port}/nothing`, clock: systemClock })).rejects.toThrow(
    /database "nothing" does not exist/,
  );
  await postgres.stop();
  const error: unknown = await openPostgres({ dsn: `postgres://u:geheim@127.0.0.1:${port}/x`, clock: systemClock }).catch(
    (thrown: unknown) => thrown,
  );
  expect(isCaissonError(error, "database_unavailable")).toBe(true);
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("geheim");
});
