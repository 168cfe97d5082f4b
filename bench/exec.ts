import { spawnSync } from "node:child_process";
import type { Sandbox } from "@caisson/contract";
import type { TestServer } from "../tests/harness/server.ts";
import { LeanClient } from "./lean-client.ts";
import { bare, median, quantile, report, series, timed } from "./measure.ts";

/** Runs before the measured ones: a server that has just started compiles what it runs. */
const WARM_UP = 200;

/** One command in a sandbox that runs, against fork and exec of the same command. */
export async function compareExec(server: TestServer, rounds: number): Promise<void> {
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const raw = series("fork + exec /bin/true, from Python");
  const node = series("spawn /bin/true, from Node");
  const http = series("Caisson: exec /bin/true, HTTP");
  const fetched = series("Caisson: the same by fetch, as the SDK does");
  const path = `/sandboxes/${sandbox.id}/exec`;
  const json = { command: "/bin/true", args: [] };
  using client = new LeanClient(server);
  const exec = (): Promise<unknown> => client.json({ method: "POST", path, json });
  for (let round = 0; round < WARM_UP; round += 1) {
    await exec();
    await server.json("POST", path, json);
  }
  const forks = `import os,time
for _ in range(${rounds}):
    t=time.perf_counter(); p=os.posix_spawn("/bin/true",["true"],{}); os.waitpid(p,0); print((time.perf_counter()-t)*1000)`;
  raw.times.push(...spawnSync("python3", ["-c", forks], { encoding: "utf8" }).stdout.trim().split("\n").map(Number));
  for (let round = 0; round < rounds; round += 1) {
    await timed(http, exec);
    await timed(fetched, () => server.json("POST", path, json));
  }
  for (let round = 0; round < rounds; round += 1) await timed(node, () => bare("/bin/true", []));
  report(`Exec round trip (${sandbox.provider}${sandbox.runtime === null ? "" : ` with ${sandbox.runtime}`})`, raw, [node, http, fetched]);
  const added = (q: number): string => (quantile(http.times, q) - quantile(raw.times, q)).toFixed(2);
  console.log(
    `  added over fork + exec: p50 ${added(0.5)} ms, p99 ${added(0.99)} ms; ${(1000 / median(http.times)).toFixed(0)} per second`,
  );
  await server.json("DELETE", `/sandboxes/${sandbox.id}`);
}
