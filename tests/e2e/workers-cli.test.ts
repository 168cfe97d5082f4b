import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Sandbox, Worker } from "@caisson/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, SHARED_TOKEN, TestWorker } from "../harness/worker.ts";

const CLI = join(import.meta.dirname, "../../packages/cli/bin/caisson.mjs");

let server: TestServer;
let worker: TestWorker;
beforeAll(async () => {
  server = await TestServer.start({ ...ONLY_MOCK, ...SHARED_TOKEN });
  worker = await TestWorker.start(server, "second", { ...ONLY_MOCK, CAISSON_WORKER__LABELS: "zone=b" });
});
afterAll(async () => {
  await worker?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function caisson(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...server.cliEnv, CAISSON_URL: server.url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { stdout: "", stderr: "" };
  child.stdout.on("data", (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, ...said };
}

const jsonOf = async <T>(...args: readonly string[]): Promise<T> => JSON.parse((await caisson(...args, "--json")).stdout) as T;

test("workers are listed with what they have and were promised", async () => {
  const { stdout, code } = await caisson("workers", "ls");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^ID +STATE +SANDBOXES +CPU +MEMORY +DISK +PROVIDER +VERSION +HEARD$/m);
  expect(stdout).toMatch(/^local +online +0 .* mock +\d+\.\d+\.\d+ +\d+s ago$/m);
  expect(stdout).toMatch(/^second +online +0 +0\/\d+ .* mock +\d+\.\d+\.\d+ +\d+s ago$/m);
  expect((await caisson("workers", "ls", "-q")).stdout).toBe("local\nsecond\n");
  expect(await jsonOf<Worker[]>("workers", "ls")).toMatchObject([
    { id: "local" },
    { id: "second", labels: { zone: "b" }, credential: "shared" },
  ]);
  expect((await caisson("workers", "get", "second")).stdout).toMatch(/^labels: +zone=b$/m);
  expect(await caisson("workers", "get", "nobody")).toMatchObject({
    code: 3,
    stderr: expect.stringContaining("There is no worker nobody."),
  });
});

test("a sandbox goes where it is told, and is shown there", async () => {
  const named = await jsonOf<Sandbox>("create", "--worker", "second");
  const labelled = await jsonOf<Sandbox>("create", "--worker-label", "zone=b", "--tenant", "team-a");
  expect([named.worker_id, labelled.worker_id, labelled.tenant_id]).toEqual(["second", "second", "team-a"]);
  const near = await jsonOf<Sandbox>("create", "--worker", "local");
  expect((await caisson("ls")).stdout).toMatch(new RegExp(`^ID +STATE +WORKER .*\\n(?:.*\\n)*${named.id} +running +second `, "m"));
  expect((await caisson("ls", "-q", "--worker", "second")).stdout.trim().split("\n").toSorted()).toEqual(
    [named.id, labelled.id].toSorted(),
  );
  expect((await caisson("run", "--worker", "second", "--", "echo", "over", "there")).stdout).toBe("over there\n");
  for (const { id } of [named, labelled, near]) expect((await caisson("rm", id)).code).toBe(0);
});

test("a worker that drains takes nothing new, and says so", async () => {
  expect((await caisson("workers", "drain", "second")).stdout).toBe("second draining\n");
  const refused = await caisson("create", "--worker", "second");
  expect(refused).toMatchObject({ code: 8, stdout: "" });
  expect(refused.stderr).toContain("An admin drains it.");
  expect(refused.stderr).toContain("caisson workers undrain");
  expect((await caisson("workers", "ls", "--state", "draining", "-q")).stdout).toBe("second\n");
  expect((await caisson("workers", "undrain", "second")).stdout).toBe("second online\n");
  expect(await caisson("create", "--worker", "nobody")).toMatchObject({ code: 3, stderr: expect.stringContaining("no worker nobody") });
  const unlabelled = await caisson("create", "--worker-label", "zone=moon");
  expect(unlabelled).toMatchObject({ code: 8, stderr: expect.stringContaining("zone=moon") });
});

test("an invitation is a token and the line that asks for it, and warns of an address that is this machine's only", async () => {
  const { code, stdout, stderr } = await caisson("workers", "add", "third", "--token-ttl", "10m");
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\S{16,}\n$/);
  expect(stderr).toContain(`within 10m:\n  caisson worker join ${server.url} --token-file -\n`);
  expect(stderr).toContain("server.advertise_url");
  expect(stderr).not.toContain(stdout.trim());
  const invitation = await jsonOf<Record<string, string>>("workers", "add");
  expect(invitation).toMatchObject({ worker_id: null, command: `caisson worker join ${server.url} --token-file -` });
});

test("a busy worker is kept, with what is on it and what to do; --force removes all", async () => {
  const { id } = await jsonOf<Sandbox>("create", "--worker", "second");
  const kept = await caisson("workers", "rm", "second");
  expect(kept.code).toBe(5);
  expect(kept.stderr).toMatch(new RegExp(`^${id} +running +host +\\d+s old$`, "m"));
  expect(kept.stderr).toContain("caisson workers rm --force second");
  expect((await caisson("workers", "rm", "second", "--force")).stdout).toBe("second removed\n");
  expect(await server.json<Sandbox>("GET", `/sandboxes/${id}`)).toMatchObject({ state: "destroyed" });
  expect((await caisson("workers", "ls", "-q")).stdout).not.toContain("second");
  expect((await caisson("workers", "ls", "-q", "--all")).stdout).toContain("second");
});
