import { tracesOf } from "../tests/harness/machine.ts";
import type { TestServer } from "../tests/harness/server.ts";
import { cpuMs, timed, type Flow } from "./measure.ts";

/** Runs what moves bytes, and notes its time and the CPU time of the server and its agents. Throws when bytes are missing. */
export async function measuredFlow(
  server: TestServer,
  sandboxIds: readonly string[],
  into: Flow,
  bytes: number,
  run: () => Promise<number>,
): Promise<void> {
  const traces = await tracesOf(server.dataDir, sandboxIds);
  const pids = traces.flatMap((trace) => /^process (\d+) /.exec(trace)?.[1] ?? []).map(Number);
  const cpu = (): number => [server.pid, ...pids.filter((pid) => pid !== server.pid)].reduce((sum, pid) => sum + cpuMs(pid), 0);
  const before = cpu();
  await timed(into, async () => {
    const moved = await run();
    if (moved < bytes) throw new Error(`${into.name}: ${moved} of ${bytes} bytes came`);
  });
  if (into.name.startsWith("Caisson")) into.cpu.push(cpu() - before);
}
