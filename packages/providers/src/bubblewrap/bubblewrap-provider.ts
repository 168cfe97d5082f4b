import { NO_CAPABILITIES, type Capabilities, type ProviderReport, type RuntimeReport } from "@caisson/contract";
import { agentArguments } from "../box/agent-arguments.ts";
import { findProgram, programVersion } from "../box/find-program.ts";
import { missingLimits } from "../box/missing-limits.ts";
import { SupervisedProvider } from "../box/supervised-provider.ts";
import type { Ground, Launch, LaunchInput, Technology, TryBoot } from "../box/technology.ts";
import { PROCESS_CEILING } from "../cgroups/cgroup-tree.ts";
import type { Provider, ProviderContext } from "../contract/provider.ts";
import { bwrapArguments } from "./bwrap-arguments.ts";

const INSTALL = "apt-get install -y --no-install-recommends bubblewrap";
const RUN_AS_ROOT = "only a worker that runs as root can do that";

/** How the provider `bubblewrap` is set up. */
export interface BubblewrapOptions {
  /** The program: a path, or a name to look up. Default `bwrap`. */
  readonly program?: string;
}

/** Boxes by bubblewrap: as root with everything that oci has, as a plain user with one id and without limits. */
export function bubblewrapProvider(context: ProviderContext, options: BubblewrapOptions = {}): Provider {
  return new SupervisedProvider(new BubblewrapTechnology(options.program ?? "bwrap"), context);
}

class BubblewrapTechnology implements Technology {
  readonly name = "bubblewrap";
  readonly tier = "process";
  readonly #wanted: string;
  #program: string;

  constructor(program: string) {
    this.#wanted = program;
    this.#program = program;
  }

  async probe(ground: Ground, tryBoot: TryBoot, signal?: AbortSignal): Promise<ProviderReport> {
    const base = { name: this.name, tier: this.tier, probed_at: new Date(ground.context.clock.now()).toISOString() } as const;
    const program = findProgram(this.#wanted);
    if (program === undefined) {
      const reason = this.#wanted === "bwrap" ? "bubblewrap is not installed" : `there is no program ${this.#wanted}`;
      return unavailable(base, { name: "bwrap", available: false, reason, remedy: INSTALL });
    }
    this.#program = program;
    const version = await programVersion(program, signal);
    const runtime = { name: "bwrap", ...(version === undefined ? {} : { version }) };
    try {
      await tryBoot({ ...runtime, available: true }, signal);
    } catch (error) {
      signal?.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      const remedy = ground.privileged
        ? "see the reason"
        : "run the worker as root, or allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1";
      return unavailable(base, { ...runtime, available: false, reason, remedy });
    }
    const capabilities = capabilitiesOf(ground);
    const { limit_pids: unlimited, ...missing } = missingLimits(ground);
    const limits = {
      ...missing,
      ...(capabilities.limit_pids || unlimited === undefined ? {} : { limit_pids: unlimited }),
      ...(ground.privileged ? {} : { users: `a plain user has one user id; ${RUN_AS_ROOT}` }),
    };
    return { ...base, available: true, capabilities, limits, runtimes: [{ ...runtime, available: true, capabilities }] };
  }

  launch(input: LaunchInput): Launch {
    const { privileged } = input.ground;
    return {
      argv: bwrapArguments({
        program: this.#program,
        stage: input.stage,
        hostname: input.spec.hostname,
        ids: privileged ? "range" : "single",
        agent: agentArguments(input.spec, "inherited", "seccomp"),
      }),
      userNamespace: privileged ? "runtime" : "supervisor",
      socket: "inherited",
      cgroups: "join",
      ...(privileged || input.ground.powers.pids ? {} : { processes: input.spec.resources.pids ?? PROCESS_CEILING }),
      hide: [],
      mounts: [],
      files: {},
    };
  }
}

function unavailable(base: Pick<ProviderReport, "name" | "tier" | "probed_at">, runtime: RuntimeReport): ProviderReport {
  const { reason = "", remedy = "" } = runtime;
  return { ...base, available: false, reason, remedy, capabilities: NO_CAPABILITIES, runtimes: [runtime] };
}

function capabilitiesOf(ground: Ground): Capabilities {
  const { memory, cpu, pids, freeze } = ground.powers;
  return {
    limit_memory: memory,
    limit_cpu: cpu,
    // A plain user's box has a user namespace of its own, which the kernel holds to the limit on processes by itself.
    limit_pids: pids || !ground.privileged,
    limit_disk: false,
    users: ground.privileged,
    images: true,
    freeze,
    pty: true,
    survives_restart: true,
  };
}
