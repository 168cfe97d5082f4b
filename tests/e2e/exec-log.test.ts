import type { Event, ExecLogEntry, Process, Sandbox as SandboxInfo } from "@caisson/contract";
import { Caisson, Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

let server: TestServer;
beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

const client = (): Caisson => new Caisson({ url: server.url, apiKey: server.apiKey });
const create = async (): Promise<Sandbox> => Sandbox.create({ env: { SECRET_ENV: "env-secret-1" } }, { client: client() });
const historyOf = (id: string): Promise<{ items: ExecLogEntry[] }> => server.json("GET", `/sandboxes/${id}/exec-log`);
const exitsOf = async (id: string): Promise<Event[]> =>
  (await client().events.list({ sandboxId: id, types: ["process.exited"], limit: 1000 })) as Event[];

it("records every way to run something, and how it ended", async () => {
  const sandbox = await create();
  const exec = (body: object): Promise<Process> => server.json("POST", `/sandboxes/${sandbox.id}/exec`, body);
  await exec({ command: "exit 3" });
  await exec({ command: "printf", args: ["a b"], user: "root", workdir: "/tmp" });
  await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sleep 60", timeout: "50ms" });
  await (await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "kill -9 $$", stream: true })).text();
  const running = await exec({ command: "sleep 60", background: true });
  const { items } = await historyOf(sandbox.id);
  expect(items).toMatchObject([
    { process_id: running.process_id, kind: "background", command: "sleep 60", ended_at: null, exit_code: null },
    { kind: "exec", command: "kill -9 $$", exit_code: 137, signal: "KILL" },
    { kind: "exec", command: "sleep 60", timed_out: true, exit_code: 137 },
    { kind: "exec", command: "printf", args: ["a b"], user: "root", workdir: "/tmp", exit_code: 0, stdout_bytes: 3, stderr_bytes: 0 },
    { kind: "exec", command: "exit 3", args: [], user: null, workdir: null, exit_code: 3, key: "api", request_id: expect.any(String) },
  ]);
  for (const entry of items.slice(1)) expect(Date.parse(entry.ended_at ?? "")).toBeGreaterThanOrEqual(Date.parse(entry.started_at));

  const paged: number[] = [];
  for await (const entry of sandbox.history({ pageSize: 2 })) paged.push(entry.process_id);
  expect(paged).toEqual(items.map((entry) => entry.process_id));

  await sandbox.destroy();
  const after = await historyOf(sandbox.id);
  expect(after.items[0]).toMatchObject({ process_id: running.process_id, ended_at: expect.any(String), exit_code: null });
  expect(after.items.slice(1)).toEqual(items.slice(1));
  const events = (await client().events.list({ sandboxId: sandbox.id, limit: 1000 })).map((event) => `${event.type} ${event.resource_id}`);
  for (const { process_id: id } of items) {
    const [begun, ended] = [events.indexOf(`process.started ${id}`), events.indexOf(`process.exited ${id}`)];
    expect(begun).toBeGreaterThan(0);
    expect(ended).toBeGreaterThan(begun);
    expect(events.indexOf(`sandbox.destroyed ${sandbox.id}`)).toBeGreaterThan(ended);
  }
  expect(new Set(events).size).toBe(events.length);
});

it("hears of the end of a background process without being asked, however many there are", async () => {
  await using sandbox = await create();
  const stream = client().events.stream({ sandboxId: sandbox.id, types: ["process.exited"], after: 0 });
  const count = 80; // more than are waited for one by one
  await Promise.all(
    Array.from({ length: count }, (_, i) =>
      server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: `sleep 1; exit ${i % 5}`, background: true }),
    ),
  );
  const codes: unknown[] = [];
  for await (const event of stream) {
    if (event.type !== "gap") codes.push(event.data["exit_code"]);
    if (codes.length === count) break;
  }
  const wanted = Array.from({ length: count }, (_, i) => i % 5);
  expect(codes.map(String).toSorted()).toEqual(wanted.map(String).toSorted());
});

it("loses nothing to kill -9, neither starts nor ends", { timeout: 120_000 }, async () => {
  const sandbox = await create();
  const go = (): Promise<Response> =>
    server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sleep 0.5; exit 7", background: true });
  const long = (await (
    await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command: "sleep 2; exit 9", background: true })
  ).json()) as Process;
  await Promise.all(Array.from({ length: 10 }, go));
  await server.kill9();
  await server.up();
  // Before anybody reads the log: what was not written, and what ends now, is found by the server itself.
  await expect.poll(async () => (await exitsOf(sandbox.id)).length).toBe(11);
  const { items } = await historyOf(sandbox.id);
  expect(items.map((entry) => String(entry.exit_code)).toSorted()).toEqual([...Array.from({ length: 10 }, () => "7"), "9"]);
  expect(items.find((entry) => entry.process_id === long.process_id)).toMatchObject({ exit_code: 9 });
  expect((await exitsOf(sandbox.id)).length).toBe(11);
  await server.json("DELETE", `/sandboxes/${sandbox.id}`);
});

it("keeps no secret in the log, in events or in the server's own log", async () => {
  await using sandbox = await create();
  await sandbox.commands.run("cat; echo out-secret-3; echo err-secret-4 >&2", { env: { TOKEN: "env-secret-2" }, stdin: "stdin-secret-5" });
  const background = await sandbox.commands.spawn("cat > /dev/null; sleep 0.1", {
    env: { TOKEN: "env-secret-2" },
    stdin: "stdin-secret-5",
  });
  await sandbox.files.write("/home/user/file-secret.txt", "content-secret-6");
  await expect.poll(async () => (await exitsOf(sandbox.id)).length).toBe(2);
  expect(background).toBeDefined();
  const everything = [
    JSON.stringify(await historyOf(sandbox.id)),
    JSON.stringify(await client().events.list({ limit: 1000 })),
    JSON.stringify(await server.json<SandboxInfo>("GET", `/sandboxes/${sandbox.id}`)),
    server.output,
  ];
  for (const secret of ["env-secret", "stdin-secret", "content-secret", server.apiKey, server.adminKey])
    for (const text of everything) expect(text.includes(secret)).toBe(false);
  for (const said of ["out-secret-3\\n", "err-secret-4\\n"]) expect(everything.join().includes(said)).toBe(false);
  const events = everything[1] ?? "";
  expect(events.includes("out-secret")).toBe(false); // commands are for the exec log only
});

it("refuses a wrong cursor and an unknown sandbox", async () => {
  await using sandbox = await create();
  expect((await server.fetch("GET", `/sandboxes/${sandbox.id}/exec-log?cursor=x`)).status).toBe(400);
  expect((await server.fetch("GET", `/sandboxes/sb0000000000000000000a1/exec-log`)).status).toBe(404);
});
