import { AGENT_CAPABILITIES } from "../box/agent-arguments.ts";
import { INSIDE } from "../box/technology.ts";
import type { IdRange } from "../supervisor/supervisor-arguments.ts";

/** What a runtime specification is made from. */
export interface OciSpecInput {
  readonly argv: readonly string[];
  readonly hostname: string;
  /** Folder with the mounted root file system, the agent, and the socket's folder. */
  readonly rootPath: string;
  readonly agentPath: string;
  /** Folder in which the agent binds its socket, where it cannot inherit one. */
  readonly socketFolder?: string;
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
  /** Group that the runtime makes or takes; absent: it stays where it was started. */
  readonly cgroupsPath?: string;
}

const BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Kernel interfaces that tell of the machine or reach beyond the box. */
const MASKED_PATHS = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/kmsg",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
];
const READ_ONLY_PATHS = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/**
 * The runtime specification of a box. All namespaces, the user namespace among them; no sysfs, no cgroup file system; no
 * rlimit (raising one needs a right that many places lack); the system-call filter is the agent's own, the same everywhere.
 */
export function ociSpec(input: OciSpecInput): Readonly<Record<string, unknown>> {
  const noAccess = ["nosuid", "noexec", "nodev"];
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: 0, gid: 0 },
      args: input.argv,
      env: [`PATH=${BASE_PATH}`],
      cwd: "/",
      noNewPrivileges: true,
      capabilities: { bounding: AGENT_CAPABILITIES, effective: AGENT_CAPABILITIES, permitted: AGENT_CAPABILITIES },
    },
    root: { path: input.rootPath, readonly: false },
    hostname: input.hostname,
    mounts: [
      mount("/proc", "proc", "proc", noAccess),
      mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
      mount("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
      mount("/dev/shm", "tmpfs", "shm", [...noAccess, "mode=1777", "size=65536k"]),
      mount("/dev/mqueue", "mqueue", "mqueue", noAccess),
      mount("/run", "tmpfs", "tmpfs", ["nosuid", "nodev", "mode=755", "size=65536k"]),
      mount(INSIDE.agent, "bind", input.agentPath, ["bind", "ro", "nosuid", "nodev"]),
      ...(input.socketFolder === undefined ? [] : [mount(INSIDE.socketFolder, "bind", input.socketFolder, ["bind", "rw", ...noAccess])]),
    ],
    linux: {
      uidMappings: input.uids.map(mapping),
      gidMappings: input.gids.map(mapping),
      namespaces: ["user", "pid", "network", "ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
      maskedPaths: MASKED_PATHS,
      readonlyPaths: READ_ONLY_PATHS,
      ...(input.cgroupsPath === undefined ? {} : { cgroupsPath: input.cgroupsPath }),
    },
  };
}

function mount(destination: string, type: string, source: string, options: readonly string[]): Readonly<Record<string, unknown>> {
  return { destination, type, source, options };
}

function mapping(range: IdRange): Readonly<Record<string, number>> {
  return { containerID: range.inside, hostID: range.outside, size: range.count };
}
