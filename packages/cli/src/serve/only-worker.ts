import { CaissonError, type SandboxHost, type Worker } from "@caisson/contract";
import type { WorkerOperations } from "@caisson/control";
import type { Store } from "@caisson/store";

const NOTHING = { vcpus: 0, memory_mb: 0, disk_mb: 0, sandboxes: 0 };

/** The worker inside the server, while there are no others: it can be looked at, and not be changed. */
export function onlyWorker(host: SandboxHost, store: Store): WorkerOperations {
  const get = async (id: string): Promise<Worker> => {
    if (id !== host.workerId) throw new CaissonError("worker_not_found", `There is no worker ${id}.`, { detail: { worker_id: id } });
    const [description, rows, load] = await Promise.all([host.describe(), store.workers.list(), store.sandboxes.load()]);
    const row = rows.find((one) => one.id === id);
    const now = new Date().toISOString();
    return {
      id,
      state: row?.state ?? "online",
      late: false,
      draining: "no",
      version: description.version,
      credential: "local",
      labels: {},
      tenant_id: null,
      providers: [...description.providers],
      capacity: NOTHING,
      reserved: { ...NOTHING, sandboxes: load.get(id) ?? 0 },
      used: null,
      preview_domain: description.previewDomain,
      public_url: null,
      advertise_addr: null,
      on_control_loss: "run",
      last_heartbeat_at: new Date(row?.lastHeartbeatAt ?? Date.now()).toISOString(),
      created_at: row === undefined ? now : new Date(row.createdAt).toISOString(),
      updated_at: row === undefined ? now : new Date(row.updatedAt).toISOString(),
    };
  };
  const refuse = async (id: string): Promise<never> => {
    await get(id);
    throw new CaissonError("state_conflict", `The worker ${id} is the only one.`);
  };
  return {
    list: async ({ state }) => {
      const worker = await get(host.workerId);
      const wanted = state === undefined || state.split(",").includes(worker.state);
      return { items: wanted ? [worker] : [], next_cursor: null };
    },
    get,
    drain: refuse,
    undrain: refuse,
    revoke: refuse,
    remove: refuse,
  };
}
