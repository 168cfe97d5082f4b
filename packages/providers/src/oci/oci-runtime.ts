import { join } from "node:path";
import type { AgentListen } from "../box/agent-arguments.ts";
import { RUNTIME_STATE, type Launch } from "../box/technology.ts";

/** Where a runtime is told to work. */
export interface RuntimePlace {
  /** Path of its program. */
  readonly program: string;
  /** The box's folder: bundle, state and pid file lie there. */
  readonly dir: string;
  readonly sandboxId: string;
}

/** How one OCI runtime is used; the differences between them end here. */
export interface OciRuntime {
  readonly name: string;
  readonly listen: AgentListen;
  readonly cgroups: Launch["cgroups"];
  /** It refuses machines that mount a v2 hierarchy beside v1 controllers. */
  readonly refusesHybrid: boolean;
  /** Whether the agent's own system-call filter is of use below it. */
  readonly filter: "seccomp" | "none";
  /** Whether the kernel's count of processes is the box's own. */
  readonly countsProcesses: boolean;
  readonly remedy: string;
  command(place: RuntimePlace): readonly string[];
}

/** Name of the file with the pid of the box's process 1. */
export const PID_FILE = "pid";

function state(place: RuntimePlace): string {
  return join(place.dir, RUNTIME_STATE);
}

/** One descriptor beyond the usual is handed down: the listening socket. */
function runDetached(place: RuntimePlace): readonly string[] {
  return ["run", "-d", "--preserve-fds", "1", "--pid-file", join(place.dir, PID_FILE), "-b", place.dir, place.sandboxId];
}

/** The runtimes, best first. */
export const OCI_RUNTIMES: readonly OciRuntime[] = [
  {
    name: "crun",
    listen: "inherited",
    cgroups: "join",
    refusesHybrid: true,
    filter: "seccomp",
    countsProcesses: true,
    remedy: "apt-get install -y --no-install-recommends crun",
    command: (place) => [place.program, "--root", state(place), "--cgroup-manager=disabled", ...runDetached(place)],
  },
  {
    // It has no way to leave control groups alone, so it is told the name of ours.
    name: "runc",
    listen: "inherited",
    cgroups: "named",
    refusesHybrid: false,
    filter: "seccomp",
    countsProcesses: true,
    remedy: "apt-get install -y --no-install-recommends runc",
    command: (place) => [place.program, "--root", state(place), ...runDetached(place)],
  },
  {
    // gVisor cannot accept on an inherited socket; its own kernel makes a filter inside it needless, and the threads that
    // the machine counts are that kernel's.
    name: "runsc",
    listen: "bound",
    cgroups: "join",
    refusesHybrid: false,
    filter: "none",
    countsProcesses: false,
    remedy: "install gVisor's runsc, for example with scripts/install-runsc.sh /usr/local/bin",
    command: (place) => {
      const settings = ["--platform=systrap", "--network=none", "--ignore-cgroups", "--host-uds=create", "--overlay2=none"];
      const run = ["run", "-detach", "-pid-file", join(place.dir, PID_FILE), "-bundle", place.dir, place.sandboxId];
      return [place.program, `--root=${state(place)}`, ...settings, ...run];
    },
  },
];
