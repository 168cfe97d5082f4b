import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const execute = promisify(execFile);
const PREFIX = "clab-";
const NAMESPACES = "/run/netns";
const FOLDERS = "/tmp";
/** What a lab needs of a machine besides root. */
const PROGRAMS = ["ip", "nft", "nsenter"] as const;
/** Time that what is left in a namespace gets to end by itself, in ms. */
const GRACE_MS = 5_000;

/** Runs a program to its end; fails with what it said. */
export async function run(program: string, args: readonly string[], input?: string): Promise<string> {
  const running = execute(program, args, { timeout: 60_000, maxBuffer: 1 << 24 });
  // A program that reads nothing may have ended by now.
  running.child.stdin?.on("error", () => undefined).end(input ?? "");
  return (await running).stdout;
}

/** Why there can be no lab on this machine; undefined where there can. `REQUIRE_LAB=1` makes that an error. */
export function labMissing(): string | undefined {
  const missing = PROGRAMS.filter((name) => !found(name));
  const why =
    process.getuid?.() !== 0 ? "network namespaces need root" : missing.length > 0 ? `not installed: ${missing.join(", ")}` : undefined;
  if (why !== undefined && process.env.REQUIRE_LAB === "1") throw new Error(`No lab on this machine: ${why}`);
  if (why !== undefined) console.log(`lab skipped: ${why}`);
  return why;
}

function found(program: string): boolean {
  return `${process.env.PATH ?? ""}:/usr/sbin:/sbin`.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Where one lab lies: network namespaces and a folder, all named after the process that made them, so that what a killed
 * run left is known as such and swept by the next one.
 */
export class LabPlace {
  readonly #name: string;
  readonly #namespaces: string[] = [];
  /** Folder for whatever the lab keeps. */
  readonly folder: string;

  private constructor(name: string) {
    this.#name = name;
    this.folder = join(FOLDERS, name);
  }

  /** Sweeps what dead runs left, then makes a folder. */
  static async make(): Promise<LabPlace> {
    await sweep();
    for (let n = 0; ; n += 1) {
      const place = new LabPlace(`${PREFIX}${process.pid}-${startTicks(process.pid)}-${n}`);
      try {
        await mkdir(place.folder, { mode: 0o755 });
        return place;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  }

  /** Makes a network namespace with nothing but its loopback; returns its name. */
  async addNamespace(label: string): Promise<string> {
    const name = `${this.#name}-${label}`;
    await run("ip", ["netns", "add", name]);
    this.#namespaces.push(name);
    await run("ip", ["-n", name, "link", "set", "lo", "up"]);
    return name;
  }

  /** Ends what still runs in the namespaces, and removes all. */
  async remove(): Promise<void> {
    await removeNamespaces(this.#namespaces.splice(0));
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/**
 * The words before a program's that have it run in a namespace. `ip netns exec` is not it: that mounts /sys anew, and the
 * control groups below it are gone.
 */
export function inNamespace(name: string): [program: string, ...args: string[]] {
  return ["nsenter", `--net=${join(NAMESPACES, name)}`, "--"];
}

/** Removes namespaces and folders of runs that are dead. */
async function sweep(): Promise<void> {
  const dead = (name: string): boolean => {
    const [, pid, ticks] = /^clab-(\d+)-(\d+)-/.exec(`${name}-`) ?? [];
    return pid !== undefined && startTicks(Number(pid)) !== ticks;
  };
  const names = (await readdir(NAMESPACES).catch(() => [])).filter(dead);
  await removeNamespaces(names);
  for (const name of (await readdir(FOLDERS)).filter(dead))
    await rm(join(FOLDERS, name), { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
}

/** Field 22 of `/proc/PID/stat`: with it a pid means one process only. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[22 - 3];
  } catch {
    return undefined; // there is no such process
  }
}

async function removeNamespaces(names: readonly string[]): Promise<void> {
  await Promise.all(names.map((name) => whileThere(name, () => endProcesses(name))));
  for (const name of names) await whileThere(name, () => run("ip", ["netns", "del", name]));
}

/** Does something with a namespace, for as long as it is there: another process may sweep at the same time. */
async function whileThere(name: string, work: () => Promise<unknown>): Promise<void> {
  await work().catch((error: unknown) => {
    if (existsSync(join(NAMESPACES, name))) throw error;
  });
}

/** Ends the processes of a namespace: supervisors of sandboxes take their mounts and control groups with them. */
async function endProcesses(name: string): Promise<void> {
  const pids = async (): Promise<number[]> => (await run("ip", ["netns", "pids", name])).split("\n").filter(Boolean).map(Number);
  const signal = (all: readonly number[], which: NodeJS.Signals): void => {
    for (const pid of all) {
      try {
        process.kill(pid, which);
      } catch {
        // it ended meanwhile
      }
    }
  };
  signal(await pids(), "SIGTERM");
  const deadline = performance.now() + GRACE_MS;
  for (;;) {
    const left = await pids();
    if (left.length === 0) return;
    if (performance.now() > deadline) signal(left, "SIGKILL");
    await sleep(20);
  }
}
