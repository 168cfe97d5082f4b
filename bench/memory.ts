import { readFileSync } from "node:fs";
import type { Sandbox } from "@caisson/contract";
import { tracesOf } from "../tests/harness/machine.ts";
import type { TestServer } from "../tests/harness/server.ts";

/** Proportional set size of a process in KiB. */
function pss(pid: string): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0; // it ended between the listing and the look
  }
}

/** Memory of sandboxes that do nothing. */
export async function measureMemory(server: TestServer): Promise<void> {
  const count = 50;
  const serverBefore = pss(String(server.pid));
  const sandboxes = await Promise.all(Array.from({ length: count }, () => server.json<Sandbox>("POST", "/sandboxes", {})));
  await Promise.all(sandboxes.map((sandbox) => server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true" })));
  const pids = (
    await tracesOf(
      server.dataDir,
      sandboxes.map((sandbox) => sandbox.id),
    )
  )
    .flatMap((trace) => /^process (\d+) /.exec(trace)?.[1] ?? [])
    .filter((pid) => pid !== String(server.pid));
  const boxes = pids.reduce((sum, pid) => sum + pss(pid), 0);
  const growth = pss(String(server.pid)) - serverBefore;
  console.log(`\nIdle memory per sandbox, ${count} idle ones, proportional set size, shared pages divided`);
  console.log(`  processes of the sandbox (${(pids.length / count).toFixed(1)} each)    ${(boxes / count / 1024).toFixed(2)} MiB`);
  console.log(`  growth of the server                   ${(growth / count / 1024).toFixed(2)} MiB`);
  await Promise.all(sandboxes.map((sandbox) => server.json("DELETE", `/sandboxes/${sandbox.id}`)));
}
