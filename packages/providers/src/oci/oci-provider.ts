import { join } from "node:path";
import { NO_CAPABILITIES, type Capabilities, type ProviderReport, type RuntimeReport } from "@caisson/contract";
import { agentArguments } from "../box/agent-arguments.ts";
import { findProgram, programVersion } from "../box/find-program.ts";
import { missingLimits } from "../box/missing-limits.ts";
import { SupervisedProvider } from "../box/supervised-provider.ts";
import { STAGED, type Ground, type Launch, type LaunchInput, type Technology, type TryBoot } from "../box/technology.ts";
import type { Provider, ProviderContext } from "../contract/provider.ts";
import { OCI_RUNTIMES, PID_FILE, type OciRuntime } from "./oci-runtime.ts";
import { ociSpec } from "./oci-spec.ts";

/** How the provider `oci` is set up. */
export interface OciOptions {
  /** Runtime of boxes that name none. Default: the best that works. */
  readonly runtime?: string;
  /** Program of a runtime, by its name: a path, or a name to look up. Default: the runtime's own name. */
  readonly programs?: Readonly<Record<string, string>>;
}

/** Boxes by an OCI runtime: crun, runc, or runsc (gVisor). */
export function ociProvider(context: ProviderContext, options: OciOptions = {}): Provider {
  return new SupervisedProvider(new OciTechnology(options), context);
}

class OciTechnology implements Technology {
  readonly name = "oci";
  readonly tier = "container";
  readonly #options: OciOptions;
  readonly #programs = new Map<string, string>();

  constructor(options: OciOptions) {
    this.#options = options;
  }

  async probe(ground: Ground, tryBoot: TryBoot, signal?: AbortSignal): Promise<ProviderReport> {
    const base = { name: this.name, tier: this.tier, probed_at: new Date(ground.context.clock.now()).toISOString() } as const;
    if (!ground.privileged) {
      const reason = "OCI runtimes need the machine's root here, for mounts, id ranges and control groups";
      const remedy = "run the worker as root, or use the provider bubblewrap";
      const runtimes = OCI_RUNTIMES.map((runtime) => ({ name: runtime.name, available: false, reason, remedy }));
      return { ...base, available: false, reason, remedy, capabilities: NO_CAPABILITIES, runtimes };
    }
    const runtimes: RuntimeReport[] = [];
    for (const runtime of OCI_RUNTIMES) runtimes.push(await this.#probeRuntime(runtime, capabilitiesOf(ground, runtime), tryBoot, signal));
    const preferred = this.#options.runtime;
    // The first that works is what a box without a wish gets.
    if (preferred !== undefined) runtimes.sort((a, b) => Number(b.name === preferred) - Number(a.name === preferred));
    const candidates = preferred === undefined ? runtimes : runtimes.slice(0, 1);
    const capabilities = candidates.find((runtime) => runtime.available)?.capabilities;
    if (capabilities !== undefined) return { ...base, available: true, capabilities, limits: missingLimits(ground), runtimes };
    const [first] = candidates;
    if (preferred !== undefined && first !== undefined) {
      const reason = `the configured runtime ${preferred} does not work: ${first.reason}`;
      return { ...base, available: false, reason, remedy: first.remedy ?? "", capabilities: NO_CAPABILITIES, runtimes };
    }
    const reason = `no OCI runtime works: ${runtimes.map((runtime) => `${runtime.name}: ${runtime.reason}`).join("; ")}`;
    return { ...base, available: false, reason, remedy: OCI_RUNTIMES[0]?.remedy ?? "", capabilities: NO_CAPABILITIES, runtimes };
  }

  launch(input: LaunchInput): Launch {
    const runtime = OCI_RUNTIMES.find((candidate) => candidate.name === input.runtime?.name);
    if (runtime === undefined) throw new TypeError("an OCI box needs a runtime");
    const { layout } = input.ground.cgroups;
    const { sandboxId } = input.spec;
    const spec = ociSpec({
      argv: agentArguments(input.spec, runtime.listen, runtime.filter),
      hostname: input.spec.hostname,
      rootPath: join(input.stage, STAGED.root),
      agentPath: join(input.stage, STAGED.agent),
      ...(runtime.listen === "bound" ? { socketFolder: join(input.stage, STAGED.socketFolder) } : {}),
      uids: input.uids,
      gids: input.gids,
      ...(runtime.cgroups === "named" ? { cgroupsPath: `/${input.ground.cgroups.groupPath(sandboxId)}` } : {}),
    });
    return {
      argv: runtime.command({ program: this.#programs.get(runtime.name) ?? runtime.name, dir: input.dir, sandboxId }),
      userNamespace: "none",
      pidFile: PID_FILE,
      socket: runtime.listen,
      cgroups: runtime.cgroups,
      hide: runtime.refusesHybrid && layout.kind === "hybrid" && layout.v2Mount !== null ? [layout.v2Mount] : [],
      mounts: [],
      files: { "config.json": JSON.stringify(spec) },
    };
  }

  async #probeRuntime(runtime: OciRuntime, capabilities: Capabilities, tryBoot: TryBoot, signal?: AbortSignal): Promise<RuntimeReport> {
    const wanted = this.#options.programs?.[runtime.name] ?? runtime.name;
    const program = findProgram(wanted);
    if (program === undefined) {
      const reason = wanted === runtime.name ? "it is not installed" : `there is no program ${wanted}`;
      return { name: runtime.name, available: false, reason, remedy: runtime.remedy };
    }
    this.#programs.set(runtime.name, program);
    const version = await programVersion(program, signal);
    const report = { name: runtime.name, ...(version === undefined ? {} : { version }) };
    try {
      await tryBoot({ ...report, available: true }, signal);
      return { ...report, available: true, capabilities };
    } catch (error) {
      signal?.throwIfAborted();
      return {
        ...report,
        available: false,
        reason: error instanceof Error ? error.message : String(error),
        remedy: "see the reason; `caisson doctor` tries again",
      };
    }
  }
}

function capabilitiesOf(ground: Ground, runtime: OciRuntime): Capabilities {
  const { memory, cpu, pids, freeze } = ground.powers;
  return {
    limit_memory: memory,
    limit_cpu: cpu,
    limit_pids: pids && runtime.countsProcesses,
    limit_disk: false,
    users: true,
    images: true,
    freeze,
    pty: true,
    survives_restart: true,
  };
}
