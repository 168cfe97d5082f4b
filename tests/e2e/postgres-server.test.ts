import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestPostgres } from "../harness/postgres.ts";
import { TestServer } from "../harness/server.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());

const MOCK = { CAISSON_PROVIDERS__MOCK__ENABLED: "true", CAISSON_PROVIDERS__DEFAULT: "mock" };

function onPostgres(dsn: string, workerId: string): Record<string, string> {
  return {
    ...MOCK,
    CAISSON_DATABASE__DRIVER: "postgres",
    CAISSON_DATABASE__DSN: dsn,
    CAISSON_SERVER__LOCAL_WORKER: "on",
    CAISSON_WORKER__ID: workerId,
  };
}

it("serves on PostgreSQL, and comes back to what it had", async () => {
  await using server = await TestServer.start(onPostgres(postgres.makeDatabase(), "one"));
  const made = await server.json<Sandbox>("POST", "/sandboxes", {});
  expect(made).toMatchObject({ state: "running", worker_id: "one" });
  await server.kill9();
  await server.up();
  expect(await server.json<Sandbox>("GET", `/sandboxes/${made.id}`)).toMatchObject({ id: made.id });
});

it("keeps a worker's name to the data folder that was first, and its keys to all servers", async () => {
  const dsn = postgres.makeDatabase();
  await using first = await TestServer.start(onPostgres(dsn, "local"));
  await expect(TestServer.start(onPostgres(dsn, "local"))).rejects.toThrow("belongs to a server with another data folder");
  await using second = await TestServer.start({
    ...onPostgres(dsn, "other"),
    CAISSON_AUTH__API_KEY: first.apiKey,
    CAISSON_AUTH__ADMIN_API_KEY: first.adminKey,
  });
  const made = await second.json<Sandbox>("POST", "/sandboxes", {});
  expect(await first.json<Sandbox>("GET", `/sandboxes/${made.id}`)).toMatchObject({ id: made.id, worker_id: "other" });
});

it("reads the address from a file, and says what contradicts itself", async () => {
  const dsn = postgres.makeDatabase();
  const file = join(postgres.folder, "address");
  await writeFile(file, `${dsn}\n`);
  const { CAISSON_DATABASE__DSN: _, ...rest } = onPostgres(dsn, "one");
  {
    await using server = await TestServer.start({ ...rest, CAISSON_DATABASE__DSN_FILE: file });
    expect((await server.fetch("GET", "/sandboxes")).status).toBe(200);
  }
  await expect(TestServer.start(rest)).rejects.toThrow("there is no database.dsn");
  await expect(TestServer.start({ ...rest, CAISSON_DATABASE__DSN: dsn, CAISSON_DATABASE__DSN_FILE: file })).rejects.toThrow("both set");
  await expect(TestServer.start({ ...MOCK, CAISSON_DATABASE__DSN: dsn })).rejects.toThrow("database.driver is sqlite");
  await expect(TestServer.start({ ...rest, CAISSON_DATABASE__DSN: "mysql://x" })).rejects.toThrow("is not one of PostgreSQL");
});

it("runs no sandboxes itself unless it is told to, and shares keys and events with others", async () => {
  const dsn = postgres.makeDatabase();
  const here = { ...MOCK, CAISSON_DATABASE__DRIVER: "postgres", CAISSON_DATABASE__DSN: dsn };
  await using first = await TestServer.start(here);
  const refused = await first.fetch("POST", "/sandboxes", {});
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, "worker_unavailable"]);
  const keys = { CAISSON_AUTH__API_KEY: first.apiKey, CAISSON_AUTH__ADMIN_API_KEY: first.adminKey };
  await using second = await TestServer.start({ ...onPostgres(dsn, "b"), ...keys });
  const made = await second.json<Sandbox>("POST", "/sandboxes", {});
  const { items } = await first.json<{ items: { type: string; resource_id: string }[] }>("GET", "/events");
  expect(items.filter((event) => event.resource_id === made.id).map((event) => event.type)).toContain("sandbox.running");
});
