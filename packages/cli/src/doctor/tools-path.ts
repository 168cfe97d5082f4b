import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of programs that the project's scripts fetched. */
const TOOLS = fileURLToPath(new URL("../../../../.caisson/bin", import.meta.url));

/** Lets programs be found that a plain user's PATH lacks: the system's own, and those that the project's scripts fetched. */
export function extendPath(): void {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const more = [TOOLS, "/usr/sbin", "/sbin"].filter((folder) => !folders.includes(folder));
  process.env.PATH = [...folders, ...more].join(delimiter);
}
