import { readFileSync } from "node:fs";
import { tracesOf } from "./machine.ts";
import type { TestServer } from "./server.ts";

/** Watches the resident memory of our own processes: a server, and the supervisors, agents and keepers of its sandboxes. */
export class ResidentMemory {
  readonly #before = new Map<number, number>();
  readonly #most = new Map<number, number>();

  private constructor(pids: readonly number[]) {
    for (const pid of pids) this.#before.set(pid, residentKib(pid));
    this.sample();
  }

  /** Begins with what the processes have now. */
  static async of(server: TestServer, sandboxIds: readonly string[]): Promise<ResidentMemory> {
    const traces = await tracesOf(server.dataDir, sandboxIds);
    const ours = traces.flatMap((trace) => /^process (\d+) \w (\S*caisson-agent\S*) /.exec(trace)?.[1] ?? []).map(Number);
    if (ours.length < 2) throw new Error(`no supervisor and agent among:\n${traces.join("\n")}`);
    return new ResidentMemory([server.pid, ...ours]);
  }

  /** Looks again; call it often while the work goes on. */
  sample(): void {
    for (const pid of this.#before.keys()) this.#most.set(pid, Math.max(this.#most.get(pid) ?? 0, residentKib(pid)));
  }

  /** By how much the process that grew most has grown, in MiB. */
  get growthMib(): number {
    return Math.max(...[...this.#before].map(([pid, before]) => ((this.#most.get(pid) ?? before) - before) / 1024));
  }
}

/** Resident set size of a process in KiB; 0 when it has ended. */
function residentKib(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
