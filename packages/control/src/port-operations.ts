import { isTerminal } from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { OperationMeter } from "./operation-meter.ts";
import type { OperationOptions, PortVisibility } from "./operations.ts";
import type { SandboxAccess } from "./sandbox-access.ts";
import { sandboxEnded } from "./sandbox-errors.ts";

/** What operations on ports need. */
export interface PortOperationsOptions {
  readonly store: Store;
  readonly meter: OperationMeter;
  readonly access: SandboxAccess;
}

/** Who may see the ports of sandboxes: `Operations` documents each. */
export class PortOperations {
  readonly #options: PortOperationsOptions;

  constructor(options: PortOperationsOptions) {
    this.#options = options;
  }

  published(id: string, options: OperationOptions): Promise<readonly PortVisibility[]> {
    const { access, meter, store } = this.#options;
    return meter.measured("port.visibility", id, options, async () => {
      await access.unended(id);
      return store.ports.list(id);
    });
  }

  publish(id: string, visibility: PortVisibility, options: OperationOptions): Promise<void> {
    const { access, meter, store } = this.#options;
    return meter.measured("port.publish", id, options, async () => {
      // The sandbox may end between the two: then the store refuses, and the second look says why.
      if (await store.ports.put(id, visibility)) return;
      throw sandboxEnded(await access.record(id));
    });
  }

  unpublish(id: string, port: number, options: OperationOptions): Promise<void> {
    const { access, meter, store } = this.#options;
    return meter.measured("port.unpublish", id, options, async () => {
      await access.unended(id);
      await store.ports.remove(id, port);
    });
  }

  async access(id: string, port: number): Promise<"public" | "private" | "ended"> {
    const { store } = this.#options;
    if ((await store.ports.get(id, port))?.public === true) return "public";
    const seen = await store.sandboxes.get(id);
    return seen !== undefined && isTerminal(seen.state) ? "ended" : "private";
  }
}
