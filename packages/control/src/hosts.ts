import type { SandboxHost } from "@caisson/contract";

/** The workers that this process has a way to now; they come and go. */
export interface Hosts {
  /** The way to a worker; undefined while there is none. */
  get(workerId: string): SandboxHost | undefined;
  /** Ids of all workers that can be asked now. */
  ids(): readonly string[];
  /** Calls the listener after a worker came, went or got another way. Returns what ends that. */
  onChange(listener: (workerId: string) => void): () => void;
}

/** Workers that were added and not yet taken away. A worker that is added again replaces what was there: its newest way is used. */
export class ConnectedHosts implements Hosts {
  readonly #hosts = new Map<string, SandboxHost>();
  readonly #listeners = new Set<(workerId: string) => void>();

  get(workerId: string): SandboxHost | undefined {
    return this.#hosts.get(workerId);
  }

  ids(): readonly string[] {
    return [...this.#hosts.keys()];
  }

  onChange(listener: (workerId: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Adds a way to a worker. Returns what takes exactly this way away again. */
  add(host: SandboxHost): () => void {
    const { workerId } = host;
    this.#hosts.set(workerId, host);
    this.#tell(workerId);
    return () => {
      if (this.#hosts.get(workerId) !== host) return;
      this.#hosts.delete(workerId);
      this.#tell(workerId);
    };
  }

  #tell(workerId: string): void {
    for (const listener of this.#listeners) listener(workerId);
  }
}
