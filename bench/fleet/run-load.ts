import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ClientLoad, ClientReport } from "./client-load.ts";

/** Runs a load in a process of its own. */
export async function runLoad(load: ClientLoad): Promise<ClientReport> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@caisson/source", join(import.meta.dirname, "client-load.ts"), JSON.stringify(load)],
    { timeout: load.durationMs + 60_000, maxBuffer: 256 * 1024 * 1024 },
  );
  return JSON.parse(stdout) as ClientReport;
}

/** Failures in words: `3 with 503`. */
export function failuresOf({ failures }: ClientReport): string {
  const counted = Object.entries(failures).map(([status, count]) => `${count} with ${status === "0" ? "no answer" : status}`);
  return counted.length === 0 ? "none" : counted.join(", ");
}
