import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";

const SYSTEM_FOLDERS = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const VERSION_LIMIT_MS = 5_000;

/** The path of a program on this machine: a path is taken as it is, a name is looked up in PATH, then in the usual folders. */
export function findProgram(name: string): string | undefined {
  if (name.includes("/")) return isExecutable(name) ? name : undefined;
  const folders = [...(process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder.startsWith("/")), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** The first number-like word of what a program says of its version; undefined when it says nothing. */
export function programVersion(path: string, signal?: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(
      path,
      ["--version"],
      { timeout: VERSION_LIMIT_MS, maxBuffer: 65_536, ...(signal === undefined ? {} : { signal }) },
      (error, stdout) => {
        resolve(error === null ? /\d+(?:\.\d+)+\S*/.exec(stdout)?.[0] : undefined);
      },
    );
  });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    // Not there, or not ours to run: both mean no.
    return false;
  }
}
