import type { Event, ExecLogEntry, Process } from "@caisson/contract";
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

it("loses nothing to kill -9, neither starts nor ends", async () => {
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
