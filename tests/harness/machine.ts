import { readdir, readFile, readlink } from "node:fs/promises";

/** What a data folder and the sandboxes with these ids have on the machine: each line names one thing. */
export async function tracesOf(dataDir: string, ids: readonly string[]): Promise<string[]> {
  return [...(await processes(dataDir, ids)), ...(await mounts(dataDir)), ...(await cgroups(ids)), ...(await folders(dataDir))].toSorted();
}

/** Processes on the host side name the data folder; those inside a sandbox are in a control group named after it. */
async function processes(dataDir: string, ids: readonly string[]): Promise<string[]> {
  const own = String(process.pid);
  const found: string[] = [];
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid) || pid === own) continue;
    const read = (name: string): Promise<string> => readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
    const commandLine = (await read("cmdline")).replaceAll("\0", " ").trim();
    const state = /^State:\s+(\w)/m.exec(await read("status"))?.[1];
    if (state === undefined) continue;
    const groups = await read("cgroup");
    if (commandLine.includes(dataDir) || ids.some((id) => groups.includes(id))) {
      const program = await readlink(`/proc/${pid}/exe`).catch(() => "?");
      found.push(`process ${pid} ${state} ${program} ${commandLine.slice(0, 120)}`);
    }
  }
  return found;
}

async function mounts(dataDir: string): Promise<string[]> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  return table
    .split("\n")
    .filter((line) => line.includes(dataDir))
    .map((line) => `mount ${line}`);
}

/** Control groups named after one of the sandboxes. */
async function cgroups(ids: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  const walk = async (folder: string, depth: number): Promise<void> => {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      if (!entry.isDirectory()) continue;
      const path = `${folder}/${entry.name}`;
      if (ids.some((id) => entry.name.includes(id))) found.push(`cgroup ${path}`);
      if (depth < 4) await walk(path, depth + 1);
    }
  };
  await walk("/sys/fs/cgroup", 0);
  return found;
}

/** Files and folders below a data folder whose path carries a sandbox id, and sockets bound there. */
async function folders(dataDir: string): Promise<string[]> {
  const entries = await readdir(dataDir, { recursive: true }).catch(() => []);
  const files = entries.filter((path) => /sb[0-9a-z]{21}/.test(path)).map((path) => `path ${path}`);
  const sockets = (await readFile("/proc/net/unix", "utf8"))
    .split("\n")
    .filter((line) => line.includes(dataDir))
    .map((line) => `socket ${line.split(" ").at(-1)}`);
  return [...files, ...sockets];
}
