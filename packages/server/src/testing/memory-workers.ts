import { CaissonError, NO_CAPABILITIES, WORKER_STATES, type Worker, type WorkerState } from "@caisson/contract";
import type { WorkerOperations } from "@caisson/control";

const NOTHING = { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: 0 };
const AT = "2027-01-15T08:00:00.000Z";

/** A worker that is online, with the mock as its provider. */
export function memoryWorker(id: string, more: Partial<Worker> = {}): Worker {
  return {
    id,
    state: "online",
    late: false,
    draining: "no",
    version: "0.1.0",
    credential: "static",
    labels: {},
    tenant_id: null,
    providers: [{ name: "mock", tier: "none", available: true, default: true, capabilities: NO_CAPABILITIES, runtimes: [] }],
    capacity: { ...NOTHING, vcpus: 4, memory_mb: 4096 },
    reserved: NOTHING,
    used: null,
    preview_domain: null,
    public_url: null,
    public_url_problem: null,
    advertise_addr: null,
    on_control_loss: "run",
    last_heartbeat_at: AT,
    created_at: AT,
    updated_at: AT,
    ...more,
  };
}

/** Workers that are only records. */
export class MemoryWorkers implements WorkerOperations {
  readonly #workers: Map<string, Worker>;
  /** Sandboxes by worker: what keeps it from being removed. */
  readonly sandboxes: Map<string, readonly string[]> = new Map();
  /** Ids of workers whose credentials were revoked. */
  readonly revoked: string[] = [];

  constructor(workers: readonly Worker[] = [memoryWorker("local", { credential: "local" })]) {
    this.#workers = new Map(workers.map((worker) => [worker.id, worker]));
  }

  list: WorkerOperations["list"] = async ({ state, limit = 100, cursor = "" }) => {
    const wanted: readonly string[] = state?.split(",") ?? WORKER_STATES.filter((one) => one !== "removed");
    const found = [...this.#workers.values()].filter((worker) => worker.id > cursor && wanted.includes(worker.state));
    const items = found.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit);
    return { items, next_cursor: items.length < found.length ? (items.at(-1)?.id ?? null) : null };
  };

  get: WorkerOperations["get"] = async (id) => {
    const worker = this.#workers.get(id);
    if (worker === undefined) throw new CaissonError("worker_not_found", `There is no worker ${id}.`, { detail: { worker_id: id } });
    return worker;
  };

  drain: WorkerOperations["drain"] = (id) => this.#change(id, { draining: "admin", state: "draining" });

  undrain: WorkerOperations["undrain"] = (id) => this.#change(id, { draining: "no", state: "online" });

  revoke: WorkerOperations["revoke"] = (id) => {
    this.revoked.push(id);
    return this.#change(id, {});
  };

  remove: WorkerOperations["remove"] = async (id, { force = false } = {}) => {
    const held = this.sandboxes.get(id) ?? [];
    if (held.length > 0 && !force)
      throw new CaissonError("worker_in_use", `The worker ${id} has ${held.length} sandboxes.`, {
        detail: { worker_id: id, sandbox_ids: held, count: held.length },
      });
    this.sandboxes.delete(id);
    return this.#change(id, { state: "removed" satisfies WorkerState });
  };

  async #change(id: string, change: Partial<Worker>): Promise<Worker> {
    const changed = { ...(await this.get(id)), ...change };
    this.#workers.set(id, changed);
    return changed;
  }
}
