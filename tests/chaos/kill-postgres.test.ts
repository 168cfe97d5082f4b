import type { Sandbox } from "@caisson/contract";
import { expect, it } from "vitest";
import { ndjson, outputBytes } from "../harness/ndjson.ts";
import { TestPostgres } from "../harness/postgres.ts";
import { TestServer } from "../harness/server.ts";

/** The stream that is read all the while, until it is told to end. */
const TICKER = "i=0; while [ ! -e /tmp/stop ]; do echo $i; i=$((i+1)); sleep 0.05; done";
/** Longest time for an answer while the database is away, in ms: it is waited for, but not for ever. */
const REFUSED_WITHIN_MS = 30_000;

it("kill -9 of PostgreSQL under load: 503 and Retry-After, then all is well; streams go on", { timeout: 240_000 }, async () => {
  await using postgres = await TestPostgres.start();
  await using server = await TestServer.start({
    CAISSON_DATABASE__DRIVER: "postgres",
    CAISSON_DATABASE__DSN: postgres.dsn(),
    CAISSON_SERVER__LOCAL_WORKER: "on",
    CAISSON_WORKER__ID: "here",
  });
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const before = await server.json<Sandbox>("POST", "/sandboxes", {});

  const stream = await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sh", args: ["-c", TICKER], stream: true });
  let ticks = "";
  let exitCode: number | undefined;
  const whileAway: string[] = [];
  let away = false;
  const reading = (async () => {
    for await (const record of ndjson(stream)) {
      if (record.type === "output") ticks += Buffer.from(outputBytes(record)).toString();
      if (record.type === "output" && away) whileAway.push("tick");
      if (record.type === "exit") exitCode = record.exit_code;
    }
  })();

  const acknowledged: string[] = [];
  const refused: { status: number; code: string; retryAfter: string | null; ms: number }[] = [];
  let asking = true;
  const load = [1, 2].map(async () => {
    while (asking) {
      const begun = performance.now();
      const answer = await server.fetch("POST", "/sandboxes", { metadata: { load: "1" } });
      const body = (await answer.json()) as { id: string; code: string };
      const ms = performance.now() - begun;
      if (answer.status === 201) acknowledged.push(body.id);
      else {
        refused.push({ status: answer.status, code: body.code, retryAfter: answer.headers.get("retry-after"), ms });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  });
  await expect.poll(() => acknowledged.length).toBeGreaterThan(4);

  await postgres.kill9();
  away = true;
  await expect.poll(() => refused.length).toBeGreaterThan(5);
  await expect.poll(() => whileAway.length).toBeGreaterThan(10);
  for (const [method, path] of [
    ["GET", "/sandboxes"],
    ["GET", `/sandboxes/${before.id}`],
    ["DELETE", `/sandboxes/${before.id}`],
    ["GET", "/events"],
  ] as const) {
    const answer = await server.fetch(method, path);
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([503, "database_unavailable"]);
    expect(answer.headers.get("retry-after")).toBe("1");
  }
  expect((await fetch(`${server.url}/ready`)).status).toBe(503);
  away = false;
  await postgres.up();
  const back = performance.now();
  const seen = acknowledged.length;
  await expect.poll(() => acknowledged.length).toBeGreaterThan(seen);
  console.log(`creates go on ${Math.round(performance.now() - back)} ms after the database is back; ${refused.length} were refused`);
  asking = false;
  await Promise.all(load);
  for (const one of refused)
    expect(one).toMatchObject({ status: 503, code: "database_unavailable", retryAfter: expect.stringMatching(/^\d+$/) });
  expect(Math.max(...refused.map((one) => one.ms))).toBeLessThan(REFUSED_WITHIN_MS);

  // Nothing lost that was acknowledged, nothing kept that nobody knows of.
  for (const id of [sandbox.id, before.id, ...acknowledged]) {
    expect(await server.json<Sandbox>("GET", `/sandboxes/${id}`)).toMatchObject({ id, state: "running" });
  }
  await server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "touch /tmp/stop" });
  await reading;
  expect(exitCode).toBe(0);
  expect(ticks).toBe(Array.from({ length: ticks.split("\n").length - 1 }, (_, i) => `${i}\n`).join(""));
  const { items } = await server.json<{ items: Sandbox[] }>("GET", "/sandboxes?limit=1000");
  await Promise.all(items.map((one) => server.json("DELETE", `/sandboxes/${one.id}`)));
  await expect.poll(() => postgres.sql("select count(*) from leases")).toBe("0");
});
