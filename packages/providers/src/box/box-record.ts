import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";
import type { CgroupPaths } from "../cgroups/cgroup-tree.ts";
import { parseIdentity, type ProcessIdentity } from "../supervisor/process-identity.ts";

const RECORD_FILE = "box.json";
const VERSION = 1;

/** What a provider remembers of a box in its folder. */
export interface BoxRecord {
  readonly version: 1;
  readonly sandboxId: string;
  readonly epoch: number;
  readonly runtime: string | null;
  /** Boot of the machine in which it was started. */
  readonly bootId: string;
  /** First id of its range on the machine; null when it has none. */
  readonly firstId: number | null;
  readonly cgroups: CgroupPaths;
  /** All groups to remove at the end, those of the runtime included. */
  readonly ownedCgroups: readonly string[];
}

/** How a box ended, as its supervisor wrote it. */
export interface ExitRecord {
  readonly reason: "exited" | "stopped" | "failed";
  readonly message: string;
  readonly code: number | null;
  readonly signal: number | null;
  readonly oomKills: number;
}

/** Writes the record in one step. */
export function writeBoxRecord(dir: string, record: BoxRecord): void {
  const draft = join(dir, `${RECORD_FILE}.new`);
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
  renameSync(draft, join(dir, RECORD_FILE));
}

/** The record of a box's folder; undefined when there is none of a version we know. */
export function readBoxRecord(dir: string): BoxRecord | undefined {
  const record = readJson(join(dir, RECORD_FILE)) as Partial<BoxRecord> | undefined;
  return record?.version === VERSION && typeof record.sandboxId === "string" ? (record as BoxRecord) : undefined;
}

/** How the box ended; undefined when its supervisor left no word. */
export function readExitRecord(dir: string): ExitRecord | undefined {
  return readJson(join(dir, "exit.json")) as ExitRecord | undefined;
}

/** The supervisor that last held the box's lock. */
export function readSupervisor(dir: string): ProcessIdentity | undefined {
  return parseIdentity(readText(join(dir, "lock")) ?? "");
}

/** The text of a file; undefined when it is not there. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasSystemCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

function readJson(path: string): unknown {
  const text = readText(path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Cut short by a crash of the machine: as good as not there.
    return undefined;
  }
}
