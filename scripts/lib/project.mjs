// Where things are, and which programs this machine has.
import { accessSync, constants, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Root folder of the project. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
/** Folder for what the scripts fetch or make besides node_modules; never committed. */
export const CACHE = join(ROOT, ".caisson");
/** Programs that the scripts fetched, such as runsc. */
export const TOOLS = join(CACHE, "bin");
/** The Node that the project brings along; the machine's own may be older. */
export const PROJECT_NODE = join(ROOT, "node_modules", ".bin", "node");

/** Whether a file is there and may be executed. */
export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // the question was whether it can be
  }
}

/** Whether a path is there. */
export function exists(path) {
  try {
    accessSync(path);
    return true;
  } catch {
    return false; // the question was whether it is
  }
}

/** Whether there is a PostgreSQL server to start, as Debian has it in a folder for each version, or on the PATH. */
export function hasPostgres() {
  try {
    if (readdirSync("/usr/lib/postgresql").some((version) => isExecutable(join("/usr/lib/postgresql", version, "bin", "initdb"))))
      return true;
  } catch {
    // no such folder: perhaps it is elsewhere
  }
  return findProgram("initdb") !== undefined && findProgram("postgres") !== undefined;
}

/** Where a program is: on the PATH, in the folders of system programs that a plain user's PATH lacks, in cargo's, or in ours. */
export function findProgram(name) {
  const folders = [TOOLS, ...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin", join(homedir(), ".cargo", "bin")];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The environment for children: the project's Node, our tools, cargo and the system's programs on the PATH. */
export function childEnv(extra = {}) {
  const path = [join(ROOT, "node_modules", ".bin"), TOOLS, process.env.PATH ?? ""];
  if (!path.join(delimiter).includes("/usr/sbin")) path.push("/usr/sbin", "/sbin");
  path.push(join(homedir(), ".cargo", "bin"));
  return { ...process.env, PATH: path.join(delimiter), ...extra };
}

/** The Node to run the project with: its own, else this one when it is new enough. */
export function projectNode() {
  return isExecutable(PROJECT_NODE) ? PROJECT_NODE : process.execPath;
}

/** Whether this is Debian, Ubuntu or a child of theirs. */
export function isDebian() {
  try {
    return /^(ID|ID_LIKE)=.*\b(debian|ubuntu)\b/m.test(readFileSync("/etc/os-release", "utf8"));
  } catch {
    return false; // no such file: another kind of machine
  }
}

/** Whether this process is root. */
export function isRoot() {
  return process.getuid?.() === 0;
}
