import { TestServer } from "../tests/harness/server.ts";
import { compareColdStarts } from "./cold-start.ts";
import { compareDirect } from "./direct.ts";
import { compareExec } from "./exec.ts";
import { measureFleet } from "./fleet.ts";
import { load } from "./measure.ts";
import { measureMemory } from "./memory.ts";
import { compareStreams } from "./streams.ts";
import { measureEcho } from "./terminal.ts";
import { compareTransfers } from "./transfers.ts";

/*
 * Compares Caisson with the tools below it, interleaved in one run on one machine: wall times as medians over rounds, the
 * 99th percentile beside them, and ratios. Absolute times depend on the machine and its noise; the ratios are the result.
 * `npm run bench -- exec streams` runs only those; BENCH_ROUNDS sets how often.
 */

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 30);

/** What can be measured, in the order of a whole run. */
const SUBJECTS: Readonly<Record<string, (server: TestServer) => Promise<void>>> = {
  "cold-start": (server) => compareColdStarts(server, ROUNDS),
  exec: (server) => compareExec(server, ROUNDS * 10),
  terminal: (server) => measureEcho(server, ROUNDS * 20),
  streams: (server) => compareStreams(server, Math.max(3, Math.round(ROUNDS / 6))),
  transfers: (server) => compareTransfers(server, Math.max(3, Math.round(ROUNDS / 6))),
  direct: () => compareDirect(Math.max(3, Math.round(ROUNDS / 6)), ROUNDS * 10),
  memory: (server) => measureMemory(server),
  fleet: () => measureFleet(ROUNDS),
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => SUBJECTS[name] === undefined);
if (unknown.length > 0) throw new Error(`no such subject: ${unknown.join(", ")}; there are ${Object.keys(SUBJECTS).join(", ")}`);

await using server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
console.log(`Caisson benchmark: ${ROUNDS} rounds, interleaved; Node ${process.version}; load ${load()} at the start`);
for (const [name, run] of Object.entries(SUBJECTS)) if (wanted.length === 0 || wanted.includes(name)) await run(server);
console.log(`\nload ${load()} at the end`);
