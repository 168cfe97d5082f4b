import type { AddWorker, RotatedKeys, RotateKeys, Worker, WorkerInvitation, WorkerPage } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient } from "./http-client.ts";

/** Options of `Workers.list`. */
export interface ListWorkersOptions extends CallOptions {
  /** States wanted. @default all but `removed` */
  readonly state?: Worker["state"] | readonly Worker["state"][] | undefined;
  /** Workers fetched at a time. @default 100 */
  readonly pageSize?: number | undefined;
}

/**
 * Machines that run sandboxes: `client.workers`. To see them any key will do; the rest needs the admin key.
 *
 * ```ts
 * for await (const { id, state, reserved } of client.workers.list()) console.log(id, state, reserved.sandboxes);
 * ```
 */
export class Workers {
  readonly #http: HttpClient;

  /** Made by `Caisson`. */
  constructor(http: HttpClient) {
    this.#http = http;
  }

  /**
   * All workers, by id, page by page.
   *
   * ```ts
   * for await (const { id, late, last_heartbeat_at } of client.workers.list({ state: ["online", "draining"] }))
   *   console.log(id, late ? "late" : "in time", last_heartbeat_at);
   * ```
   */
  async *list(options: ListWorkersOptions = {}): AsyncGenerator<Worker, void, void> {
    const { signal, timeoutMs, state, pageSize: limit } = options;
    let cursor: string | undefined;
    do {
      const query = { state: state === undefined ? undefined : [state].flat().join(","), limit, cursor };
      const page: WorkerPage = await this.#http.json({ signal, timeoutMs, method: "GET", path: "/workers", query });
      yield* page.items;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * One worker; throws `worker_not_found`, as all that follow.
   *
   * ```ts
   * const { capacity, reserved, used } = await client.workers.get(sandbox.workerId);
   * ```
   */
  async get(id: string, options: CallOptions = {}): Promise<Worker> {
    return this.#http.json({ ...options, method: "GET", path: pathOf(id) });
  }

  /**
   * A token with which one machine becomes a worker, once: `caisson worker join URL --token-file -` there asks for it. It is in this answer
   * only.
   *
   * ```ts
   * const { token, expires_at } = await client.workers.invite({ token_ttl: "10m" });
   * console.log(`caisson worker join ${client.url} --token-file -   # until ${expires_at}; then type ${token}`);
   * ```
   */
  async invite(request: AddWorker = {}, options: CallOptions = {}): Promise<WorkerInvitation> {
    return this.#http.json({ ...options, method: "POST", path: "/workers", json: request });
  }

  /**
   * Replaces the keys that sign what workers and clients hold: tokens of workers, access to sandboxes at workers, links. By itself
   * that happens every 90 days. `immediately`, for a database that leaked: all of these are void from now on, everywhere within a
   * minute; workers renew by themselves, and calls under way on them end.
   *
   * ```ts
   * const { signs_at, others_until } = await client.workers.rotateKeys();
   * console.log(`a new key signs from ${signs_at} on; what others signed is good until ${others_until}`);
   * ```
   */
  async rotateKeys(request: RotateKeys = {}, options: CallOptions = {}): Promise<RotatedKeys> {
    return this.#http.json({ ...options, method: "POST", path: "/workers/rotate-keys", json: request });
  }

  /**
   * Gives it no new sandboxes; those it has stay. It holds across restarts, until `undrain`.
   *
   * ```ts
   * await client.workers.drain(sandbox.workerId);
   * await client.workers.undrain(sandbox.workerId);
   * ```
   */
  async drain(id: string, options: CallOptions = {}): Promise<Worker> {
    return this.#http.json({ ...options, method: "POST", path: `${pathOf(id)}/drain`, idempotent: true });
  }

  /**
   * Gives it sandboxes again.
   *
   * ```ts
   * const { state } = await client.workers.undrain(sandbox.workerId); // online
   * ```
   */
  async undrain(id: string, options: CallOptions = {}): Promise<Worker> {
    return this.#http.json({ ...options, method: "POST", path: `${pathOf(id)}/undrain`, idempotent: true });
  }

  /**
   * Refuses what was issued to it until now, and ends its links: it must join again. Its sandboxes stay where they are.
   *
   * ```ts no-run
   * await client.workers.revoke("worker-a");
   * ```
   */
  async revoke(id: string, options: CallOptions = {}): Promise<Worker> {
    return this.#http.json({ ...options, method: "POST", path: `${pathOf(id)}/revoke`, idempotent: true });
  }

  /**
   * Removes it. While it has sandboxes this throws `worker_in_use`, whose `detail.sandbox_ids` names them; `force` destroys
   * them first.
   *
   * ```ts no-run
   * try {
   *   await client.workers.remove("worker-a");
   * } catch (error) {
   *   if (!(error instanceof CaissonApiError) || error.code !== "worker_in_use") throw error;
   *   console.log("busy with", error.detail?.sandbox_ids);
   * }
   * ```
   */
  async remove(id: string, options: CallOptions & { readonly force?: boolean } = {}): Promise<Worker> {
    const { force, ...call } = options;
    return this.#http.json({ ...call, method: "DELETE", path: pathOf(id), query: { force: force === true ? true : undefined } });
  }
}

function pathOf(id: string): string {
  return `/workers/${encodeURIComponent(id)}`;
}
