import { createHash, randomBytes } from "node:crypto";
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
