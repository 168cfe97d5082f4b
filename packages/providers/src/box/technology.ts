import type { ProviderReport, RuntimeReport, Tier } from "@caisson/contract";
import type { BoxSpec, ProviderContext } from "../contract/provider.ts";
import type { CgroupPowers, CgroupTree } from "../cgroups/cgroup-tree.ts";
import type { UsrView } from "./rootfs-plan.ts";
import type { IdRange, MountStep, SupervisorRequest } from "../supervisor/supervisor-arguments.ts";

/** Names of what is mounted on the stage. */
export const STAGED = { root: "root", agent: "agent", socketFolder: "host" } as const;
/** Places inside every box. */
export const INSIDE = { agent: "/run/caisson-agent", socketFolder: "/run/caisson-host" } as const;

/** Folder in the box's folder where a runtime keeps what it knows of the box. */
export const RUNTIME_STATE = "runtime";

/** What is known of the machine before a box is planned. */
export interface Ground {
  readonly context: ProviderContext;
  /** Whether we may map any id and mount as the machine's root. */
  readonly privileged: boolean;
  readonly cgroups: CgroupTree;
  readonly powers: CgroupPowers;
  /** How boxes on the host image see `/usr`; a trial boot finds out. */
  readonly usr: UsrView;
}

/** One box to plan for. */
export interface LaunchInput {
  readonly ground: Ground;
  readonly spec: BoxSpec;
  /** The box's folder. */
  readonly dir: string;
  /** Folder of the machine that the private stage covers. */
  readonly stage: string;
  readonly runtime: RuntimeReport | undefined;
  readonly uids: readonly IdRange[];
  readonly gids: readonly IdRange[];
}

/** How a technology boots a box below a supervisor. */
export interface Launch {
  readonly argv: readonly string[];
  readonly userNamespace: SupervisorRequest["userNamespace"];
  /** The runtime goes to the background and leaves the pid here. */
  readonly pidFile?: string;
  /** `inherited`: the supervisor's listening socket is descriptor 3 inside; `bound`: the agent binds it in a shared folder. */
  readonly socket: "inherited" | "bound";
  /** `join`: the supervisor puts the runtime into the groups; `named`: the runtime takes the group name itself. */
  readonly cgroups: "join" | "named";
  /** Most processes, where no control group holds the box. */
  readonly processes?: number;
  readonly hide: readonly string[];
  /** Mounts after the root file system. */
  readonly mounts: readonly MountStep[];
  /** Files to write into the box's folder first. */
  readonly files: Readonly<Record<string, string>>;
}

/** Boots one trial box; fails with the reason when it does not come up. */
export type TryBoot = (runtime: RuntimeReport | undefined, signal?: AbortSignal) => Promise<void>;

/** What one technology adds to a supervised box. */
export interface Technology {
  readonly name: string;
  readonly tier: Tier;
  probe(ground: Ground, tryBoot: TryBoot, signal?: AbortSignal): Promise<ProviderReport>;
  launch(input: LaunchInput): Launch;
}
