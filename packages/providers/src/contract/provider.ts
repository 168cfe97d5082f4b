import type { Duplex } from "node:stream";
import type { Clock, ConsoleChunk, ConsoleRange, ProviderReport, Random, Resources, SandboxRef, Tier } from "@caisson/contract";

/** Where a box's root file system comes from. */
export type RootFs =
  /** The machine's own `/usr` over a fresh skeleton; `skeleton` is a folder kept by the image store. */
  | { readonly kind: "host"; readonly skeleton: string }
  /** An unpacked image: owned by host ids 0.. (`root`) or all by the worker's own user (`self`). */
  | { readonly kind: "folder"; readonly path: string; readonly owner: "root" | "self" };

/** What a provider needs to boot one box. */
export interface BoxSpec extends SandboxRef {
  /** Runtime by name; absent: the best that works. */
  readonly runtime?: string;
  readonly rootfs: RootFs;
  readonly resources: Resources;
  /** Base environment of every process. */
  readonly env: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly hostname: string;
  readonly network: "none";
}

/** A provider's hold on one box. The state is opaque to all but its provider and survives restarts and upgrades. */
export interface Handle {
  readonly version: number;
  readonly provider: string;
  readonly state: Readonly<Record<string, unknown>>;
}

/** A box on this machine. */
export interface Box extends SandboxRef {
  readonly handle: Handle;
  readonly runtime: string | null;
  /** `stopped`: process 1 has ended, leftovers may exist. */
  readonly status: "running" | "paused" | "stopped";
  /** Why it stopped, where known. */
  readonly reason?: string;
}

/** What the box uses now. */
export interface BoxUsage {
  readonly memoryBytes: number | null;
  readonly cpuMs: number | null;
  readonly pids: number | null;
  /** Times the memory limit killed a process. */
  readonly oomKills: number | null;
}

/** What every provider is made with. */
export interface ProviderContext {
  /** Folder of this provider's own: boxes live in `<dir>/<sandboxId>/`. Created by the provider. */
  readonly dir: string;
  /** Path of the static agent binary. */
  readonly agentPath: string;
  readonly clock: Clock;
  readonly random: Random;
  /** One line per event worth knowing. */
  readonly log: (level: "debug" | "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>) => void;
}

/**
 * One isolation technology. It boots boxes and hands over one byte stream to the guest agent in each; all else goes over
 * that stream. Errors are CaissonErrors: `unsupported` for what it cannot enforce, `provider_unavailable` when it does not
 * work here, `provider_failed` when a boot failed, `lease_lost` for an epoch lower than one seen for that id.
 */
export interface Provider {
  readonly name: string;
  readonly tier: Tier;
  /** Its boxes have a file tree of their own: the name of an image is taken as it is, and nothing is fetched. Default: no. */
  readonly ownFiles?: true;
  /** What works on this machine and why not, from really booting a box within a time limit. Repeatable; leaves nothing behind. */
  probe(signal?: AbortSignal): Promise<ProviderReport>;
  /**
   * Boots a box and returns once its agent accepts connections. Idempotent by sandbox id and epoch: the same again returns
   * the running box; a higher epoch replaces a lower one; a lower one is refused. On failure nothing is left behind.
   * Refuses with `unsupported` each resource it cannot enforce, before anything is made.
   */
  start(spec: BoxSpec, signal?: AbortSignal): Promise<Box>;
  /** Takes a box over after a worker restart; undefined when nothing is left of it. Idempotent. */
  recover(handle: Handle, signal?: AbortSignal): Promise<Box | undefined>;
  /** Every box of ours on this machine, known to the worker or not, running or stopped. */
  list(signal?: AbortSignal): Promise<readonly Box[]>;
  /** A fresh byte stream to the agent; the caller closes it. Fails with `agent_unreachable`. */
  connect(handle: Handle, signal?: AbortSignal): Promise<Duplex>;
  /** Ends every process of the box; its files stay until destroy. Idempotent. */
  stop(handle: Handle, signal?: AbortSignal): Promise<void>;
  /** Ends the box and removes all of it: processes, mounts, cgroups, sockets, folders. Idempotent; unknown boxes succeed. */
  destroy(handle: Handle, signal?: AbortSignal): Promise<void>;
  /** What the box uses now. */
  usage(handle: Handle, signal?: AbortSignal): Promise<BoxUsage>;
  /** Lines of the box's console: what the agent and the runtime wrote. */
  console(handle: Handle, range: ConsoleRange, signal?: AbortSignal): Promise<ConsoleChunk>;
  /** Optional power, announced by the capability `freeze`. Both idempotent. */
  freeze?(handle: Handle, signal?: AbortSignal): Promise<void>;
  thaw?(handle: Handle, signal?: AbortSignal): Promise<void>;
}
