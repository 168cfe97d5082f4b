import { existsSync } from "node:fs";
import { join } from "node:path";
import { AGENT_CAPABILITIES } from "../box/agent-arguments.ts";
import { INSIDE, STAGED } from "../box/technology.ts";

/** Id of the default user inside. */
const USER_ID = "1000";
const BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/**
 * Kernel files that tell of the machine to everybody. The rest of /proc that an OCI runtime masks belongs to the machine's
 * root, who is nobody in the box: no user of the box may read or write it. Each bind costs bubblewrap a tenth of a
 * millisecond.
 */
const MASKED_FILES = ["/proc/interrupts", "/proc/kcore", "/proc/keys"];
const READ_ONLY_FOLDERS = ["/proc/sys"];

/** What the command line of bubblewrap is made from. */
export interface BwrapInput {
  readonly program: string;
  readonly stage: string;
  readonly hostname: string;
  /** `range`: root of a range of ids that the supervisor's namespace maps; `single`: one user without any right. */
  readonly ids: "range" | "single";
  readonly agent: readonly string[];
}

/**
 * The command line of bubblewrap. It is started as root of a user namespace in both cases, so the namespaces it makes
 * belong to that one; with a single id it makes a further one in which the agent is the default user.
 */
export function bwrapArguments(input: BwrapInput): readonly string[] {
  const words = [input.program, "--die-with-parent", "--as-pid-1", "--new-session"];
  for (const kind of ["ipc", "pid", "net", "uts", "cgroup"]) words.push(`--unshare-${kind}`);
  if (input.ids === "single") words.push("--unshare-user", "--uid", USER_ID, "--gid", USER_ID, "--cap-drop", "ALL");
  else words.push("--cap-drop", "ALL", ...AGENT_CAPABILITIES.flatMap((name) => ["--cap-add", name]));
  words.push("--hostname", input.hostname, "--bind", join(input.stage, STAGED.root), "/", "--proc", "/proc", "--dev", "/dev");
  for (const path of READ_ONLY_FOLDERS) if (existsSync(path)) words.push("--ro-bind", path, path);
  for (const path of MASKED_FILES) if (existsSync(path)) words.push("--ro-bind", "/dev/null", path);
  words.push("--perms", "0755", "--tmpfs", "/run", "--ro-bind", join(input.stage, STAGED.agent), INSIDE.agent);
  words.push("--clearenv", "--setenv", "PATH", BASE_PATH, "--chdir", "/", "--");
  return [...words, ...input.agent];
}
