import type { PortAccess, PortAccessReply, ProcessesChanged, SandboxHost } from "@caisson/contract";

/** A sandbox as its worker knows it without asking anybody. */
export interface PresentSandbox {
  readonly epoch: number;
  readonly state: "running" | "paused" | "unhealthy" | "stopped";
  /** Limits it was made with; null for none. */
  readonly vcpus: number | null;
  readonly memoryMb: number | null;
}

/** A worker on its own machine. */
export interface DirectHost extends Pick<SandboxHost, "workerId" | "guest" | "usage" | "logs"> {
  /** A sandbox that is here; undefined when it is not, or not yet. */
  present(sandboxId: string): PresentSandbox | undefined;
}

/** What a worker asks and tells any control plane that it reaches. Rejects when it reaches none. */
export interface DirectControl {
  processesChanged(changed: ProcessesChanged, options: { readonly signal: AbortSignal }): Promise<void>;
  portAccess(asked: PortAccess, options: { readonly signal: AbortSignal }): Promise<PortAccessReply>;
}
