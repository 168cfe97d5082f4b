import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import type { Event, Process, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestPostgres } from "../harness/postgres.ts";
import { TestServer } from "../harness/server.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await TestPostgres.start();
});
afterAll(() => postgres[Symbol.asyncDispose]());

async function caisson(args: readonly string[], env: Record<string, string>): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [CLI, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { code: code as number, stdout, stderr };
}

it("moves an installation to PostgreSQL while its sandboxes run on", { timeout: 240_000 }, async () => {
  const dsn = postgres.makeDatabase();
  const embedded = await TestServer.start();
  const env = embedded.cliEnv;
  const onPostgres = {
    CAISSON_DATA_DIR: embedded.dataDir,
    CAISSON_DATABASE__DRIVER: "postgres",
    CAISSON_DATABASE__DSN: dsn,
    CAISSON_SERVER__LOCAL_WORKER: "on",
    CAISSON_WORKER__ID: "local",
  };
  let moved: TestServer | undefined;
  try {
    const sandbox = await embedded.json<Sandbox>("POST", "/sandboxes", { metadata: { team: "a" } });
    await embedded.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sh", args: ["-c", "echo kept > /tmp/kept"] });
    const begun = await embedded.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, {
      command: "sh",
      args: ["-c", "sleep 600"],
      background: true,
    });
    const ended = await embedded.json<Sandbox>("POST", "/sandboxes", {});
    await embedded.json("DELETE", `/sandboxes/${ended.id}`);
    const events = await embedded.json<{ items: Event[] }>("GET", "/events?limit=1000");

    const running = await caisson(["db", "copy", "--to", dsn], env);
    expect(running.code).toBe(5);
    expect(running.stderr).toContain(`process id ${embedded.pid}`);
    await embedded.stop();

    const status = await caisson(["db", "status", "--json"], env);
    expect(JSON.parse(status.stdout)).toMatchObject({ driver: "sqlite", pending: [], rows: { sandboxes: 2 }, moved: null });
    const occupied = postgres.makeDatabase();
    expect((await caisson(["db", "copy", "--to", occupied], env)).code).toBe(0);
    postgres.sql("update sandboxes set version = version + 1", occupied);
    const refused = await caisson(["db", "copy", "--to", occupied], env);
    expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining("its table sandboxes differs")]);

    const copied = await caisson(["db", "copy", "--to", dsn, "--json"], env);
    expect(JSON.parse(copied.stdout)).toMatchObject({ written: true, rows: { sandboxes: 2, leases: 1, api_keys: 2 } });
    expect(JSON.parse((await caisson(["db", "copy", "--to", dsn, "--json"], env)).stdout)).toMatchObject({ written: false });
    const again = await caisson(["serve"], env);
    expect([again.code, again.stderr]).toEqual([5, expect.stringContaining("was moved to PostgreSQL")]);
    const left = await caisson(["db", "status"], env);
    expect([left.code, left.stderr]).toEqual([0, ""]);
    expect(left.stdout).toMatch(/moved to PostgreSQL at \d{4}-.*\n +Set database\.driver to postgres;.*moved\.json/);
    expect(JSON.parse((await caisson(["db", "status", "--json"], env)).stdout)).toMatchObject({
      moved: { at: expect.any(String) as string, remedy: expect.stringContaining("database.driver") as string },
    });

    moved = await TestServer.start(onPostgres, { dataDir: embedded.dataDir });
    expect(moved.apiKey).toBe(embedded.apiKey);
    expect(await moved.json<Sandbox>("GET", `/sandboxes/${sandbox.id}`)).toMatchObject({ state: "running", metadata: { team: "a" } });
    const kept = await moved.json<{ stdout: string }>("POST", `/sandboxes/${sandbox.id}/exec`, { command: "cat", args: ["/tmp/kept"] });
    expect(kept.stdout).toBe("kept\n");
    const same = await moved.json<Process>("GET", `/sandboxes/${sandbox.id}/processes/${begun.process_id}`);
    expect(same).toMatchObject({ pid: begun.pid, started_at: begun.started_at, running: true });
    const after = await moved.json<{ items: Event[] }>("GET", "/events?limit=1000");
    expect(after.items.slice(0, events.items.length)).toEqual(events.items);
    expect(after.items.map((event) => event.seq)).toEqual(after.items.map((_, i) => i + 1));
    expect(JSON.parse((await caisson(["db", "status", "--json"], { ...env, ...onPostgres })).stdout)).toMatchObject({
      driver: "postgres",
      moved: null,
      pending: [],
      rows: { sandboxes: 2 },
    });
    await moved.json("DELETE", `/sandboxes/${sandbox.id}`);
    expect(await moved.json<Sandbox>("GET", `/sandboxes/${sandbox.id}`)).toMatchObject({ state: "destroyed" });
  } finally {
    await moved?.[Symbol.asyncDispose]();
    await embedded[Symbol.asyncDispose]();
  }
});
