import type { ProviderReport } from "./capability.ts";
import type { ChannelOpener } from "./channel.ts";
import type { ErrorCode } from "./error-table.ts";
import type { Image } from "./image.ts";

/** Which sandbox, and by which right: the epoch of the lease. */
export interface SandboxRef {
  readonly sandboxId: string;
  readonly epoch: number;
}

/** What a worker needs to run a sandbox. */
export interface StartSandbox extends SandboxRef {
  readonly provider: string;
  /** Runtime of the provider; absent: the best that works. */
  readonly runtime?: string;
  readonly image: string;
  readonly resources: Resources;
  readonly env: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly network: "none";
}

/** Limits to enforce; absent means no limit of its own. */
export interface Resources {
  readonly memoryMb?: number;
  readonly vcpus?: number;
  readonly pids?: number;
  readonly diskMb?: number;
}

/** What a worker says of one of its sandboxes. */
export interface HostSandbox extends SandboxRef {
  readonly state: "running" | "paused" | "unhealthy" | "stopped";
  readonly provider: string;
  readonly runtime: string | null;
  readonly image: string;
  readonly imageDigest: string | null;
  /** Why it stopped or is unhealthy. */
  readonly reason?: string;
}

/** What a worker said of a sandbox and cannot be read: whatever it was, it is not said that the sandbox is not there. */
export interface UnreadSandbox {
  readonly state: "unread";
  /** Null where not even that can be read: it may be any. */
  readonly sandboxId: string | null;
  /** What is wrong with it, in one line. */
  readonly problem: string;
}

/** What a worker says of itself. */
export interface WorkerDescription {
  readonly workerId: string;
  readonly version: string;
  readonly previewDomain: string | null;
  readonly providers: readonly ProviderReport[];
}

/** What a machine counts of a box. */
export interface HostUsage {
  /** Processor time of all its processes, ended ones included, in ms. */
  readonly cpuMs: number | null;
}

/** What came of freezing or thawing every sandbox of a worker. */
export interface PauseOutcome {
  /** Those that are now as was wanted. */
  readonly done: readonly SandboxRef[];
  /** Those that are not, and why: a provider that cannot freeze, or one that failed. */
  readonly refused: readonly (SandboxRef & { readonly code: ErrorCode; readonly reason: string })[];
}

/** Which lines of a console: the last ones, or those after a byte offset. */
export type ConsoleRange = { readonly lines: number } | { readonly after: number; readonly limit: number };

/** Lines of a console. */
export interface ConsoleChunk {
  /** Oldest first. */
  readonly lines: readonly string[];
  /** Byte offset after them. */
  readonly end: number;
  /** Not all that was asked for is there any more. */
  readonly truncated: boolean;
}

/** Images of a worker. */
export interface ImageHost {
  list(signal?: AbortSignal): Promise<readonly Image[]>;
  /** Fetches an OCI reference; a no-op when it is here, unless forced. Idempotent. */
  pull(reference: string, options: { readonly force?: true; readonly signal?: AbortSignal }): Promise<Image>;
  /** Stores a root file system from a tar stream (plain, gzip or zstd) under a name. */
  importArchive(name: string, archive: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<Image>;
  /** Removes an image by name; `image_in_use` while sandboxes use it. */
  remove(name: string, signal?: AbortSignal): Promise<void>;
}

/**
 * A worker as the orchestrator sees it; the one in this process and a far one look alike.
 * Every verb is idempotent by sandbox id and epoch: a lower epoch than one seen before is refused with `lease_lost`.
 */
export interface SandboxHost {
  readonly workerId: string;
  describe(signal?: AbortSignal): Promise<WorkerDescription>;
  /** Starts the box and waits for its agent. Starting the same id and epoch again returns the running one. */
  start(spec: StartSandbox, signal?: AbortSignal): Promise<HostSandbox>;
  /** Ends the box of this epoch or a lower one and removes all it left. Unknown ids succeed. */
  destroy(ref: SandboxRef, signal?: AbortSignal): Promise<void>;
  /** What is known of one sandbox; undefined when it is not here. */
  inspect(sandboxId: string, signal?: AbortSignal): Promise<HostSandbox | undefined>;
  /** Every box on the machine that is ours, known before or not. One that is ill told takes nothing from the others. */
  inventory(signal?: AbortSignal): Promise<readonly (HostSandbox | UnreadSandbox)[]>;
  /** A way to the guest agent. Fails on use with `sandbox_not_found`, `lease_lost` or `agent_unreachable`. */
  guest(ref: SandboxRef): ChannelOpener;
  /** Optional power: what the machine counts of a box; null where it counts nothing for it alone. */
  usage?(ref: SandboxRef, signal?: AbortSignal): Promise<HostUsage>;
  /** Lines the box wrote to its console. */
  logs(ref: SandboxRef, range: ConsoleRange, signal?: AbortSignal): Promise<ConsoleChunk>;
  /**
   * Optional power: freezes every sandbox that runs, and starts none until `resumeAll`; both hold across a restart. What a
   * provider cannot freeze runs on and is named. Idempotent.
   */
  pauseAll?(signal?: AbortSignal): Promise<PauseOutcome>;
  /** Optional power: thaws exactly those that `pauseAll` froze. Idempotent. */
  resumeAll?(signal?: AbortSignal): Promise<PauseOutcome>;
  /** Optional power: takes no new sandboxes, or takes them again; those that are there stay. Forgotten at a restart. */
  drain?(draining: boolean, signal?: AbortSignal): Promise<void>;
  readonly images: ImageHost;
}
