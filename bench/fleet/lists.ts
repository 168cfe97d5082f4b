import type { SandboxPage } from "@caisson/contract";
import { quantile } from "../measure.ts";
import { goal } from "./goal.ts";
import type { Installation } from "./installation.ts";
import { failuresOf, runLoad } from "./run-load.ts";

/** Sandboxes that there must be. */
const WANTED = 10_000;
/** Creations under way at once while they are made. */
const AT_ONCE = 64;

/** Pages of a list of many sandboxes. */
export async function measureLists(installation: Installation): Promise<void> {
  const [server] = installation.servers;
  const total = await fill(installation);
  console.log(`\nLists of ${total} sandboxes over ${installation.workers} mock workers, on PostgreSQL`);
  const load = { urls: [server.url], apiKey: installation.apiKey, warmUpMs: 1_000, durationMs: 9_000, method: "GET" } as const;
  const deep = await cursorAt(installation, total / 2);
  const pages = [
    ["first page of 100", "/sandboxes"],
    ["page of 100 in the middle", `/sandboxes?cursor=${encodeURIComponent(deep)}`],
    ["of one worker", "/sandboxes?worker_id=bench-07"],
    ["of one label", "/sandboxes?metadata=team%3Da"],
  ] as const;
  let worst = 0;
  for (const [name, path] of pages) {
    const seen = await runLoad({ ...load, connections: 1, path });
    const [p50, p99] = [quantile(seen.times, 0.5), quantile(seen.times, 0.99)];
    worst = Math.max(worst, p99);
    console.log(
      `  ${name.padEnd(28)} p50 ${p50.toFixed(1).padStart(6)} ms, p99 ${p99.toFixed(1).padStart(6)} ms, ${seen.times.length} pages; failures: ${failuresOf(seen)}`,
    );
  }
  goal("worst p99", worst, "at most", 50, "ms");
}

/** Makes sandboxes until there are enough; every tenth has a label. How many there are. */
async function fill(installation: Installation): Promise<number> {
  let there = await installation.countSandboxes();
  let number = there;
  const more = async (): Promise<void> => {
    while (there < WANTED) {
      there += 1;
      number += 1;
      const server = installation.servers[number % installation.servers.length] ?? installation.servers[0];
      const metadata = number % 10 === 0 ? { team: "a" } : {};
      await server.json("POST", "/sandboxes", { image: "host", provider: "mock", ttl: "1h", metadata });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, more));
  return installation.countSandboxes();
}

async function cursorAt({ servers: [server] }: Installation, position: number): Promise<string> {
  let cursor = "";
  for (let seen = 0; seen < position; seen += 1000) {
    const page = await server.json<SandboxPage>(
      "GET",
      `/sandboxes?limit=1000${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  return cursor;
}
