import type { Sandbox } from "@caisson/contract";
import { TestServer } from "../../tests/harness/server.ts";
import { SHARED_TOKEN, TestWorker } from "../../tests/harness/worker.ts";
import { LeanClient } from "../lean-client.ts";
import { quantile, report, series, timed } from "../measure.ts";
import { goal } from "./goal.ts";

/** Runs before the measured ones. */
const WARM_UP = 300;

/** One command in a sandbox of the server's own worker, and of a worker in a process of its own, interleaved. */
export async function compareRemoteExec(rounds: number): Promise<void> {
  await using server = await TestServer.start({ ...SHARED_TOKEN, CAISSON_LOGGING__LEVEL: "warn" });
  await using worker = await TestWorker.start(server, "bench", { CAISSON_LOGGING__LEVEL: "warn" });
  const near = await server.json<Sandbox>("POST", "/sandboxes", { worker_id: "local" });
  const far = await server.json<Sandbox>("POST", "/sandboxes", { worker_id: worker.id });
  const local = series("exec /bin/true, worker in the server");
  const remote = series("exec /bin/true, worker over a link (loopback)");
  using client = new LeanClient(server);
  const exec = (sandbox: Sandbox): Promise<unknown> =>
    client.json({ method: "POST", path: `/sandboxes/${sandbox.id}/exec`, json: { command: "/bin/true", args: [] } });
  for (let round = 0; round < WARM_UP; round += 1) {
    await exec(near);
    await exec(far);
  }
  for (let round = 0; round < rounds; round += 1) {
    await timed(local, () => exec(near));
    await timed(remote, () => exec(far));
  }
  report(`Remote exec (${near.provider}${near.runtime === null ? "" : ` with ${near.runtime}`})`, local, [remote]);
  const added = (q: number): number => quantile(remote.times, q) - quantile(local.times, q);
  console.log(`  added at p99: ${added(0.99).toFixed(2)} ms`);
  goal("added at p50", added(0.5), "at most", 1, "ms");
  for (const { id } of [near, far]) await server.json("DELETE", `/sandboxes/${id}`);
}
