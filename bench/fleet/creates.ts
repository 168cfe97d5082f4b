import { cpus } from "node:os";
import { quantile } from "../measure.ts";
import { runLoad, failuresOf } from "./run-load.ts";
import { goal } from "./goal.ts";
import type { Installation } from "./installation.ts";

const WARM_UP_MS = 3_000;
const MEASURED_MS = 10_000;

/**
 * Creations that an installation takes, from a client in a process of its own. What counts is an answer 201, which means that
 * the sandbox runs: its row, lease and event are on the disk of the database, its record on the disk of its worker, and its
 * guest has answered. Everything shares one machine; the CPU time of each process says what each would do on a machine of its
 * own, for as long as nothing else is short.
 */
export async function measureCreates(installation: Installation): Promise<void> {
  console.log(`\nCreations on PostgreSQL (mock workers, ${cpus().length} cores for all: servers, workers, database and client)`);
  let best = 0;
  for (const servers of new Set([1, installation.servers.length])) {
    const urls = installation.servers.slice(0, servers).map((server) => server.url);
    for (const connections of [8, 32, 64]) {
      const before = installation.cpu();
      const transactions = installation.transactions();
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
      const each = (what: keyof typeof after): number => (after[what] - before[what]) / made;
      const client = seen.cpuMs / made;
      const all = each("servers") + each("workers") + each("database") + client;
      const shown = (ms: number): string => `${ms.toFixed(2)} ms (${(1000 / ms).toFixed(0)}/s on one core)`;
      best = Math.max(best, rate);
      const [p50, p99] = [0.5, 0.99].map((q) => quantile(times, q).toFixed(1));
      console.log(
        `  ${servers} control plane${servers === 1 ? " " : "s"}, ${String(connections).padStart(2)} at once: ${rate.toFixed(0).padStart(5)} per second; p50 ${p50} ms, p99 ${p99} ms; failures: ${failuresOf(seen)}`,
      );
      console.log(
        `      CPU of each: ${all.toFixed(2)} ms in all; control planes ${shown(each("servers"))}, workers ${shown(each("workers"))}, PostgreSQL ${shown(each("database"))}, client ${shown(client)}; ${((installation.transactions() - transactions) / made).toFixed(1)} transactions`,
      );
    }
  }
  goal("best", best, "at least", 500, "creates per second");
}
