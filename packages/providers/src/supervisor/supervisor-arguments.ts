/** `count` ids from `inside` on are `outside` and the following on the machine. */
export interface IdRange {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

/** One mount, made in order. Targets lie on the stage, sources are absolute or relative to the box's folder. */
export type MountStep =
  | {
      readonly kind: "overlay";
      readonly target: string;
      /** Topmost first. */
      readonly lower: readonly string[];
      readonly upper: string;
      readonly work: string;
      readonly idMap: boolean;
    }
  | { readonly kind: "bind"; readonly source: string; readonly target: string; readonly readOnly: boolean; readonly idMap: boolean }
  /** A directory, made where missing; every component must be a true directory. */
  | { readonly kind: "directory"; readonly target: string };

/** What a supervisor is started with; each field is an option of `caisson-agent supervise`. */
export interface SupervisorRequest {
  /** The box's folder. */
  readonly dir: string;
  /** Name of the listening socket handed down as descriptor 3; absent: the box makes its own. */
  readonly socket?: string;
  /** Name of the file where a runtime that goes to the background leaves the pid of the box's process 1. */
  readonly pidFile?: string;
  /** Folder of the machine that the private stage covers. */
  readonly stage: string;
  /** `runtime`: only the runtime enters the mapped user namespace; `supervisor`: all of it (plain user); `none`: the runtime makes its own. */
  readonly userNamespace: "none" | "runtime" | "supervisor";
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
  /** Mounts of the machine that the runtime must not see. */
  readonly hide: readonly string[];
  readonly mounts: readonly MountStep[];
  /** Groups the runtime is put into. */
  readonly joinCgroups: readonly string[];
  /** Groups removed at the end. */
  readonly ownCgroups: readonly string[];
  /** Most processes of the box, where no control group holds it: a plain user's namespaces count for themselves. */
  readonly processes?: number;
  readonly startLimitMs: number;
  readonly stopLimitMs: number;
  readonly runtime: readonly string[];
}

/** The command line of the supervisor; its status goes to descriptor `statusFd`. */
export function supervisorArguments(request: SupervisorRequest, statusFd: number): string[] {
  const words = ["supervise", "--dir", request.dir, "--status-fd", String(statusFd), "--stage", request.stage];
  if (request.socket !== undefined) words.push("--socket", request.socket);
  if (request.pidFile !== undefined) words.push("--pid-file", request.pidFile);
  if (request.userNamespace === "runtime") words.push("--enter-userns");
  if (request.userNamespace === "supervisor") words.push("--own-userns");
  for (const range of request.uids) words.push("--uid-map", rangeText(range));
  for (const range of request.gids) words.push("--gid-map", rangeText(range));
  for (const path of request.hide) words.push("--hide", path);
  for (const step of request.mounts) words.push(...stepWords(step));
  for (const group of request.joinCgroups) words.push("--cgroup", group);
  for (const group of request.ownCgroups) words.push("--own-cgroup", group);
  if (request.processes !== undefined) words.push("--processes", String(request.processes));
  words.push("--start-limit-ms", String(request.startLimitMs), "--stop-limit-ms", String(request.stopLimitMs));
  return [...words, "--", ...request.runtime];
}

function rangeText(range: IdRange): string {
  return `${range.inside}:${range.outside}:${range.count}`;
}

function stepWords(step: MountStep): string[] {
  switch (step.kind) {
    case "overlay":
      return [
        "--overlay",
        step.target,
        ...step.lower.flatMap((path) => ["--lower", path]),
        "--upper",
        step.upper,
        "--work",
        step.work,
        ...(step.idMap ? ["--id-map"] : []),
      ];
    case "bind":
      return ["--bind", step.source, step.target, ...(step.readOnly ? ["--read-only"] : []), ...(step.idMap ? ["--id-map"] : [])];
    case "directory":
      return ["--directory", step.target];
    default:
      return step satisfies never;
  }
}
