import { CaissonError, newId, systemRandom, type CreateSandbox, type Event, type Sandbox } from "@caisson/contract";
import type { HealthReport, Operations, SandboxOwner } from "@caisson/control";
import type { Guest } from "@caisson/guest";

/** Operations over sandboxes that are only records; every one has the same guest. */
export class MemoryOperations implements Operations {
  readonly #guest: Guest;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #keys = new Map<string, { readonly request: string; readonly id: string }>();
  readonly #events: Event[] = [];
  /** Visibility of ports by sandbox. */
  readonly #ports = new Map<string, Map<number, boolean>>();
  /** What `health` answers. */
  healthy: HealthReport = { store: true, workers: { pending: 0, online: 1, draining: 0, unreachable: 0 } };
  /** Where `owner` says that workers can be reached. */
  reachedAt: Pick<SandboxOwner, "publicUrl" | "previewDomain" | "previewUrl"> = { publicUrl: null, previewDomain: null, previewUrl: null };
  /** Operations that go on now. */
  running = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  create: Operations["create"] = async (request, options = {}) => {
    const known = options.idempotencyKey === undefined ? undefined : this.#keys.get(options.idempotencyKey);
    if (known !== undefined) {
      if (known.request !== JSON.stringify(request)) throw new CaissonError("idempotency_conflict", "The key was used before.");
      return this.get(known.id);
    }
    if (request.network !== undefined && request.network !== "none") throw new CaissonError("unsupported", "Only none is supported.");
    const sandbox = this.#save(fresh(request));
    if (options.idempotencyKey !== undefined) this.#keys.set(options.idempotencyKey, { request: JSON.stringify(request), id: sandbox.id });
    this.#events.push({
      seq: this.#events.length + 1,
      type: "sandbox.created",
      resource_type: "sandbox",
      resource_id: sandbox.id,
      sandbox_id: sandbox.id,
      at: sandbox.created_at,
      data: {},
    });
    return sandbox;
  };

  get: Operations["get"] = async (id) => {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) throw new CaissonError("sandbox_not_found", `There is no sandbox ${id}.`);
    return sandbox;
  };

  list: Operations["list"] = async (query) => {
    const pairs = [query.metadata ?? []].flat().map((pair) => pair.split("="));
    const items = [...this.#sandboxes.values()]
      .toReversed()
      .filter((one) => (query.state === "all" ? true : (query.state ?? "running").split(",").includes(one.state)))
      .filter((one) => query.worker_id === undefined || one.worker_id === query.worker_id)
      .filter((one) => pairs.every(([key = "", value]) => one.metadata[key] === value));
    const from = query.cursor === undefined ? 0 : Number(query.cursor);
    const to = from + (query.limit ?? 100);
    return { items: items.slice(from, to), next_cursor: to < items.length ? String(to) : null };
  };

  extend: Operations["extend"] = async (id, ttlMs) =>
    this.#save({ ...(await this.get(id)), expires_at: new Date(Date.now() + ttlMs).toISOString() });

  destroy: Operations["destroy"] = async (id) =>
    this.#save({ ...(await this.get(id)), state: "destroyed", ended_at: new Date().toISOString() });

  withGuest: Operations["withGuest"] = async (id, _operation, use) => {
    const sandbox = await this.#live(id);
    this.running += 1;
    try {
      return await use(this.#guest, sandbox);
    } finally {
      this.running -= 1;
    }
  };

  owner: Operations["owner"] = async (id) => {
    const { worker_id: workerId, expires_at } = await this.#live(id);
    return { workerId, epoch: 1, expiresAt: Date.parse(expires_at), now: Date.now(), ...this.reachedAt };
  };

  publishedPorts: Operations["publishedPorts"] = async (id) => {
    await this.#live(id);
    return [...(this.#ports.get(id) ?? [])].map(([port, open]) => ({ port, public: open }));
  };

  publishPort: Operations["publishPort"] = async (id, visibility) => {
    await this.#live(id);
    const ports = this.#ports.get(id) ?? new Map<number, boolean>();
    this.#ports.set(id, ports.set(visibility.port, visibility.public));
  };

  unpublishPort: Operations["unpublishPort"] = async (id, port) => {
    await this.#live(id);
    this.#ports.get(id)?.delete(port);
  };

  portAccess: Operations["portAccess"] = async (id, port) => {
    if (this.#sandboxes.get(id)?.state === "destroyed") return "ended";
    return this.#ports.get(id)?.get(port) === true ? "public" : "private";
  };

  /** Webhooks are tested over the real store. */
  get webhooks(): Operations["webhooks"] {
    const refuse = (): Promise<never> => Promise.reject(new CaissonError("unsupported", "There are no webhooks here."));
    return new Proxy({} as Operations["webhooks"], { get: () => refuse });
  }

  execLog: Operations["execLog"] = async (id) => {
    await this.get(id);
    return { items: [], next_cursor: null };
  };

  logs: Operations["logs"] = async (id, range) => {
    await this.get(id);
    const lines = ["one", "two", "three"];
    return { lines: "lines" in range ? lines.slice(-range.lines) : lines.slice(range.after), end: 3, truncated: false };
  };

  followLogs: Operations["followLogs"] = async (id, from) => {
    const chunk = await this.logs(id, from);
    return (async function* () {
      yield chunk;
    })();
  };

  events: Operations["events"] = async ({ after = 0, limit = 100 }) => this.#events.filter((event) => event.seq > after).slice(0, limit);

  followEvents: Operations["followEvents"] = async ({ after = 0 }) => {
    const events = this.#events.filter((event) => event.seq > after);
    return (async function* () {
      for (const event of events) yield { type: "event" as const, event };
    })();
  };

  health: Operations["health"] = async () => this.healthy;

  async #live(id: string): Promise<Sandbox> {
    const sandbox = await this.get(id);
    if (sandbox.state === "destroyed")
      throw new CaissonError("sandbox_destroyed", "The sandbox has ended.", { detail: { state: sandbox.state } });
    return sandbox;
  }

  #save(sandbox: Sandbox): Sandbox {
    this.#sandboxes.set(sandbox.id, sandbox);
    return sandbox;
  }
}

function fresh(request: CreateSandbox): Sandbox {
  const now = new Date().toISOString();
  return {
    id: newId("sandbox", Date.now(), systemRandom),
    state: "running",
    reason: null,
    image: request.image ?? "host",
    image_digest: null,
    provider: request.provider ?? "mock",
    runtime: null,
    memory_mb: request.memory_mb ?? null,
    vcpus: request.vcpus ?? null,
    pids: request.pids ?? null,
    disk_mb: request.disk_mb ?? null,
    network: "none",
    owner_id: request.owner_id ?? null,
    tenant_id: request.tenant_id ?? null,
    placement: null,
    worker_id: "local",
    preview_domain: null,
    metadata: request.metadata ?? {},
    created_at: now,
    updated_at: now,
    expires_at: new Date(Date.now() + 1_800_000).toISOString(),
    ended_at: null,
  };
}
