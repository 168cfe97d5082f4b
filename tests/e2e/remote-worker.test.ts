import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestFleet } from "../harness/remote.ts";

let fleet: TestFleet;
let sandbox: Sandbox;
beforeAll(async () => {
  fleet = await TestFleet.start();
  sandbox = await Sandbox.create({}, { client: fleet.server.client() });
});
afterAll(() => fleet?.[Symbol.asyncDispose]());

it("runs a command on the worker", async () => {
  const { worker_id } = await fleet.server.json<{ worker_id: string }>("GET", `/sandboxes/${sandbox.id}`);
  expect(worker_id).toBe("worker-a");
  const result = await sandbox.commands.run("echo $((6*7))");
  expect([result.exitCode, result.stdout]).toEqual([0, "42\n"]);
});

it("moves 100 MB both ways", async () => {
  const bytes = randomBytes(100_000_000);
  await sandbox.files.write("/tmp/big", bytes);
  const back = await sandbox.files.read("/tmp/big");

  expect(createHash("sha256").update(back).digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
});

it("shows a sandbox without asking its worker", async () => {
  process.kill(fleet.worker.pid, "SIGSTOP");
  try {
    const shown = await fleet.server.fetch("GET", `/sandboxes/${sandbox.id}`, undefined, { signal: AbortSignal.timeout(10_000) });
    expect(await shown.json()).toMatchObject({ state: "running", worker_id: "worker-a" });
  } finally {
    process.kill(fleet.worker.pid, "SIGCONT");
  }
});

it("imports an image of many windows on the worker, lists and removes it there", async () => {
  const dir = await mkdtemp(join(tmpdir(), "caisson-image-"));
  await writeFile(join(dir, "big"), randomBytes(20_000_000));
  execFileSync("tar", ["-C", dir, "-cf", `${dir}.tar`, "."]);
  const headers = { "x-api-key": fleet.server.adminKey };
  const imported = await fetch(`${fleet.server.url}/api/v1/images/import?name=team/big:1`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/x-tar" },
    body: await readFile(`${dir}.tar`),
  });
  await rm(dir, { recursive: true });
  await rm(`${dir}.tar`);
  expect([imported.status, await imported.json()]).toMatchObject([201, { name: "team/big:1", source: "import" }]);
  const { items } = await fleet.server.json<{ items: { name: string; size_bytes: number }[] }>("GET", "/images");
  expect(items.find((image) => image.name === "team/big:1")?.size_bytes).toBeGreaterThan(19_000_000);
  const removed = await fetch(`${fleet.server.url}/api/v1/images/${encodeURIComponent("team/big:1")}`, { method: "DELETE", headers });
  expect(removed.status).toBe(204);
});

it("follows a watch over there", async () => {
  const seen: string[] = [];
  for await (const item of sandbox.files.watch("/tmp")) {
    if (item.type === "ready") await sandbox.files.write("/tmp/watched", "x");
    if (item.type !== "change") continue;
    seen.push(item.path);
    if (item.path === "/tmp/watched") break;
  }
  expect(seen).toContain("/tmp/watched");
});
