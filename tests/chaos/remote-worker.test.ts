import { Sandbox } from "@caisson/sdk";
import type { Worker } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestFleet } from "../harness/remote.ts";

let fleet: TestFleet;
beforeAll(async () => {
  // Silence is judged within seconds, so that a test can wait for it.
  fleet = await TestFleet.start({
    CAISSON_WORKERS__LATE_AFTER: "2s",
    CAISSON_WORKERS__UNREACHABLE_AFTER: "4s",
    CAISSON_WORKER__HEARTBEAT_INTERVAL: "500ms",
    CAISSON_WORKER__ON_CONTROL_LOSS: "pause",
  });
});
afterAll(() => fleet?.[Symbol.asyncDispose]());

const create = (): Promise<Sandbox> => Sandbox.create({}, { client: fleet.server.client() });

/** Numbers, one a line, slowly enough that whatever happens happens in the middle. */
const COUNT = "i=0; while [ $i -lt 400 ]; do echo $i; i=$((i+1)); sleep 0.02; done";

/** What a counting command said in whole, while `disturb` happened in the middle of it. */
async function countThrough(sandbox: Sandbox, disturb: () => Promise<void>): Promise<{ text: string; exit: number | null }> {
  let text = "";
  let exit: number | null = null;
  let disturbed: Promise<void> | undefined;
  for await (const event of sandbox.commands.stream(COUNT)) {
    if (event.type === "output") {
      text += event.text;
      if (text.includes("\n50\n")) disturbed ??= disturb();
    } else if (event.type === "exit") exit = event.exitCode;
  }
  await disturbed;
  return { text, exit };
}

const ALL = Array.from({ length: 400 }, (_, i) => `${i}\n`).join("");

it("goes on with a stream at its offset when the worker was killed and is back", { timeout: 240_000 }, async () => {
  const sandbox = await create();
  const counted = await countThrough(sandbox, async () => {
    await fleet.worker.end("SIGKILL");
    await fleet.worker.up();
  });
  expect(counted).toEqual({ text: ALL, exit: 0 });
  await sandbox.destroy();
});

it(
  "goes on with a stream at its offset when the server was killed: the worker is linked again within seconds",
  { timeout: 240_000 },
  async () => {
    const sandbox = await create();
    let took = 0;
    const counted = await countThrough(sandbox, async () => {
      await fleet.server.kill9();
      await fleet.server.up();
      const began = performance.now();
      await expect.poll(async () => (await sandbox.commands.run("echo back")).stdout).toBe("back\n");
      took = performance.now() - began;
    });
    expect(counted).toEqual({ text: ALL, exit: 0 });
    // A worker rests the longer between two attempts the longer the server is away.
    expect(took).toBeLessThan(Math.max(5_000, fleet.server.upMs));
    await sandbox.destroy();
  },
);

it("keeps sandboxes over a restart of the worker that was asked to end, and shows that it drains", { timeout: 240_000 }, async () => {
  const sandbox = await create();
  await sandbox.files.write("/tmp/kept", "kept");
  await fleet.worker.end("SIGTERM");
  expect(fleet.worker.output).toMatch(/Draining: .*\n(?:.*\n)*Stopping. 1 sandbox lives on/);
  const { draining } = await fleet.server.json<{ draining: string }>("GET", "/workers/worker-a");
  expect(draining).toBe("worker");
  const state = async (): Promise<string> => (await fleet.server.json<{ state: string }>("GET", `/sandboxes/${sandbox.id}`)).state;
  await expect.poll(state).toBe("missing");
  await fleet.worker.up();
  await expect.poll(state).toBe("running");
  expect(await sandbox.files.readText("/tmp/kept")).toBe("kept");
  await sandbox.destroy();
});

it(
  "freezes its sandboxes when no control plane is heard, over a crash of its own too, and thaws them when one is back",
  { timeout: 240_000 },
  async (context) => {
    const { providers } = await fleet.server.json<Worker>("GET", "/workers/worker-a");
    if (providers.find((provider) => provider.default)?.capabilities.freeze !== true) context.skip("the provider here cannot freeze");
    const sandbox = await create();
    await sandbox.commands.spawn("while true; do echo >> /tmp/count; sleep 0.01; done");
    const count = async (): Promise<number> => Number((await sandbox.commands.run("wc -c < /tmp/count")).stdout);
    await expect.poll(count).toBeGreaterThan(0);
    await fleet.server.kill9();
    await expect.poll(() => fleet.worker.output).toContain("sandboxes were frozen");
    await fleet.worker.end("SIGKILL");
    await fleet.server.up();
    await fleet.worker.up();
    await expect.poll(() => fleet.worker.output).toContain("sandboxes were thawed");
    await expect.poll(async () => (await fleet.server.json<{ state: string }>("GET", `/sandboxes/${sandbox.id}`)).state).toBe("running");
    const before = await count();
    await expect.poll(count).toBeGreaterThan(before);
    await sandbox.destroy();
  },
);
