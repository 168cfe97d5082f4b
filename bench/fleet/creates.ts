import { cpus } from "node:os";
import { quantile } from "../measure.ts";
import { runLoad, failuresOf } from "./run-load.ts";
import { goal } from "./goal.ts";
import type { Installation } from "./installation.ts";

const WARM_UP_MS = 3_000;
const MEASURED_MS = 10_000;

/** Creations that an installation takes, from a client in a process of its own: each answer means that the sandbox runs. */
export async function measureCreates(installation: Installation): Promise<void> {
  console.log(`\nCreations on PostgreSQL (mock workers, ${cpus().length} cores for all: servers, workers, database and client)`);
  let best = 0;
  for (const servers of new Set([1, installation.servers.length])) {
    const urls = installation.servers.slice(0, servers).map((server) => server.url);
    for (const connections of [8, 32, 64]) {
      const before = installation.cpu();
      const seen = await runLoad({
        urls,
        apiKey: installation.apiKey,
        connections,
        warmUpMs: WARM_UP_MS,
        durationMs: WARM_UP_MS + MEASURED_MS,
        method: "POST",
        path: "/sandboxes",
        body: { image: "host", provider: "mock", ttl: "1h" },
      });
      const { times, countedMs } = seen;
      const after = installation.cpu();
      const rate = (times.length / countedMs) * 1000;
      // The warm-up costs as well, and is not counted.
      const made = times.length * ((WARM_UP_MS + MEASURED_MS) / countedMs);
      const each = (what: keyof typeof after): string => ((after[what] - before[what]) / made).toFixed(2);
      best = Math.max(best, rate);
      const [p50, p99] = [0.5, 0.99].map((q) => quantile(times, q).toFixed(1));
      console.log(
        `  ${servers} control plane${servers === 1 ? " " : "s"}, ${String(connections).padStart(2)} at once: ${rate.toFixed(0).padStart(5)} per second; p50 ${p50} ms, p99 ${p99} ms; failures: ${failuresOf(seen)}`,
      );
      console.log(
        `      CPU of each: ${each("servers")} ms in control planes, ${each("workers")} ms in workers, ${each("database")} ms in PostgreSQL`,
      );
    }
  }
  goal("best", best, "at least", 500, "creates per second");
}
