import type { ConsolePage, Sandbox as SandboxInfo } from "@caisson/contract";
import type { SandboxStats } from "@caisson/sdk";
import { appendFile, readdir, truncate } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

/** Statistics and consoles. */
export function observation(target: () => SandboxTarget): void {
  let api: ApiAccess;
  beforeAll(() => {
    ({ api } = target());
  });

  it("tells what a sandbox uses, now and over time, and ends with it", async () => {
    const sandbox = await target().create({ memory_mb: 256 });
    const { cpus } = (await sandbox.stats()).cpu;
    expect(await sandbox.stats()).toMatchObject({
      at: expect.any(String),
      uptime_ms: expect.any(Number),
      processes: expect.any(Number),
      cpu: { used_ms: expect.any(Number), percent: null },
      memory: { used_bytes: expect.any(Number), limit_bytes: 268_435_456 },
      disk: { total_bytes: expect.any(Number), free_bytes: expect.any(Number) },
      network: { rx_bytes: 0, rx_packets: 0, tx_bytes: 0, tx_packets: 0 },
    });
    await sandbox.commands.spawn("while :; do :; done");
    const samples: SandboxStats[] = [];
    for await (const sample of sandbox.statsStream({ interval: "200ms" })) {
      samples.push(sample);
      if (samples.length === 4) await sandbox.destroy(); // and the loop ends by itself
    }
    expect(samples.length).toBeGreaterThanOrEqual(4);
    expect(samples[0]?.cpu.percent).toBeNull();
    for (const { cpu, processes } of samples.slice(1)) {
      expect(cpu.percent).toBeGreaterThan(0);
      expect(cpu.percent).toBeLessThan(cpus * 100 + 50);
      expect(processes).toBeGreaterThanOrEqual(1);
    }
    expect((await api.fetch("GET", `/sandboxes/${sandbox.id}/stats/stream`)).status).toBe(410);
  });

  // A plain user has no control groups.
  it.skipIf(process.getuid?.() !== 0)("counts the processor time of processes that have ended", async () => {
    await using sandbox = await target().create();
    const before = (await sandbox.stats()).cpu.used_ms;
    const { stdout } = await sandbox.commands.run("python3 -c 'import time; [0 for _ in range(10**7)]; print(time.process_time())'");
    const used = (await sandbox.stats()).cpu.used_ms - before;
    expect(used).toBeGreaterThanOrEqual(Number(stdout) * 900);
  });

  it("reads a console by cursor and follows it, each line once, over a cut, until the end", async () => {
    const sandbox = await target().create();
    const logs = (query: string): Promise<ConsolePage> => api.json("GET", `/sandboxes/${sandbox.id}/logs?${query}`);
    const found = (await readdir(target().workerDir, { recursive: true })).find(
      (path) => path.includes(sandbox.id) && path.endsWith("console.log"),
    );
    const file = join(target().workerDir, found ?? "no console");
    const { next_cursor: begin } = await logs("lines=1");
    await appendFile(file, "one\ntwo\nthr");
    const first = await logs(`after=${begin}&limit=1`);
    expect(first).toMatchObject({ lines: ["one"], truncated: false });
    const second = await logs(`after=${first.next_cursor}`);
    expect(second.lines).toEqual(["two"]);
    expect(await logs(`after=${second.next_cursor}`)).toEqual({ ...second, lines: [] });

    const followed: string[] = [];
    const following = (async () => {
      for await (const line of sandbox.followLogs({ lines: 1 })) followed.push(line);
    })();
    await expect.poll(() => followed).toEqual(["thr"]);
    await appendFile(file, "ee\nfour\n");
    await expect.poll(() => followed).toEqual(["thr", "ee", "four"]);
    await truncate(file, 0);
    await appendFile(file, "five\n");
    await expect.poll(() => followed).toEqual(["thr", "ee", "four", "five"]);
    await sandbox.destroy();
    await following;
    expect((await api.json<SandboxInfo>("GET", `/sandboxes/${sandbox.id}`)).state).toBe("destroyed");
    expect((await api.fetch("GET", `/sandboxes/${sandbox.id}/logs`)).status).toBe(410);
  });
}
