import type {
  Access,
  ConsolePage,
  CreateAccess,
  CreateSandbox,
  CreateToken,
  ExecLogEntry,
  ExecLogPage,
  Placement,
  Sandbox as SandboxInfo,
  SandboxStats,
  Token,
} from "@caisson/contract";
import { CaissonApiError } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import { Caisson } from "./caisson.ts";
import { Code } from "./code.ts";
import { Commands } from "./commands.ts";
import { Events } from "./events.ts";
import { Files } from "./files.ts";
import { Git } from "./git.ts";
import type { HttpClient } from "./http-client.ts";
import { followEvents, type SseMessage, type SseRequest } from "./sse.ts";
import { Ports } from "./ports.ts";
import { Processes } from "./processes.ts";
import { Pty } from "./pty.ts";

/** Options of calls that stand alone. */
export interface ClientOptions extends CallOptions {
  /** The server. @default one made from the environment */
  readonly client?: Caisson | undefined;
}

/** Options of `Sandbox.list`. */
export interface ListOptions extends ClientOptions {
  /** States wanted, or `all`. @default all that have not ended */
  readonly state?: SandboxInfo["state"] | "all" | readonly SandboxInfo["state"][] | undefined;
  /** Labels that must all match. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Only those of this worker. */
  readonly workerId?: string | undefined;
  /** Sandboxes fetched at a time. @default 100 */
  readonly pageSize?: number | undefined;
}

/** Time for a sandbox to start, in ms: longer than the server gives it, so that the server's answer comes first. */
const CREATE_MS = 150_000;

/**
 * An isolated computer.
 *
 * ```ts
 * await using sandbox = await Sandbox.create({ memory_mb: 512, ttl: "10m" });
 * const { stdout } = await sandbox.commands.run("python3 -c 'print(6*7)'");
 * ```
 */
export class Sandbox implements AsyncDisposable {
  /** Runs commands. */
  readonly commands: Commands;
  /** Works with git repositories. */
  readonly git: Git;
  /** Runs code in interpreters that keep their state. */
  readonly code: Code;
  /** What runs and ran in it. */
  readonly processes: Processes;
  /** Terminals in it. */
  readonly pty: Pty;
  /** Reads and writes files. */
  readonly files: Files;
  /** What listens in it, and who may see that. */
  readonly ports: Ports;
  /** What happened to it and in it. */
  readonly events: Events;
  readonly #client: Caisson;
  /** For what is done inside it. */
  readonly #http: HttpClient;
  #info: SandboxInfo;

  private constructor(client: Caisson, info: SandboxInfo) {
    this.#client = client;
    this.#info = info;
    this.#http = client.http.forSandbox(info.id, info.worker_id);
    this.processes = new Processes(this.#http, info.id);
    this.commands = new Commands(this.#http, this.processes, info.id);
    this.code = new Code(this.#http, info.id);
    this.git = new Git(this.commands);
    this.pty = new Pty(this.#http, this.processes, info.id);
    this.files = new Files(this.#http, info.id);
    this.ports = new Ports(this.#http, info.id);
    this.events = new Events(client.http, info.id);
  }

  /**
   * Creates a sandbox and waits until it runs. Sent again when the connection broke; it still makes only one.
   *
   * ```ts
   * const sandbox = await Sandbox.create({ image: "host", ttl: "1h", metadata: { team: "a" } });
   * ```
   *
   * Where it may go, when there are several workers:
   *
   * ```ts no-run
   * const onGpu = await Sandbox.create({ worker_labels: { gpu: "yes" }, tenant_id: "team-a" });
   * console.log(onGpu.workerId, onGpu.placement?.reason);
   * const there = await Sandbox.create({ worker_id: "worker-a" });
   * ```
   */
  static async create(request: CreateSandbox = {}, options: ClientOptions & { readonly idempotencyKey?: string } = {}): Promise<Sandbox> {
    const client = options.client ?? new Caisson();
    const info = await client.http.json<SandboxInfo>({
      method: "POST",
      path: "/sandboxes",
      json: request,
      headers: { "idempotency-key": options.idempotencyKey ?? crypto.randomUUID() },
      idempotent: true,
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? CREATE_MS,
    });
    return new Sandbox(client, info);
  }

  /**
   * A sandbox by its id; throws `sandbox_not_found`.
   *
   * ```ts
   * const same = await Sandbox.connect(sandbox.id, { client });
   * ```
   */
  static async connect(id: string, options: ClientOptions = {}): Promise<Sandbox> {
    const client = options.client ?? new Caisson();
    return new Sandbox(client, await fetchInfo(client, id, options));
  }

  /**
   * All sandboxes, newest first, page by page.
   *
   * ```ts
   * for await (const sandbox of Sandbox.list({ metadata: { team: "a" } })) console.log(sandbox.id, sandbox.info.state);
   * ```
   */
  static async *list(options: ListOptions = {}): AsyncGenerator<Sandbox, void, void> {
    const client = options.client ?? new Caisson();
    const { signal, timeoutMs, state } = options;
    let cursor: string | undefined;
    do {
      const query = {
        state: Array.isArray(state) ? state.join(",") : (state as string | undefined),
        metadata: Object.entries(options.metadata ?? {}).map(([key, value]) => `${key}=${value}`),
        worker_id: options.workerId,
        limit: options.pageSize,
        cursor,
      };
      const page = await client.http.json<{ items: SandboxInfo[]; next_cursor: string | null }>({
        method: "GET",
        path: "/sandboxes",
        query,
        signal,
        timeoutMs,
      });
      for (const info of page.items) yield new Sandbox(client, info);
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Its id. */
  get id(): string {
    return this.#info.id;
  }

  /** The worker it lives on. */
  get workerId(): string {
    return this.#info.worker_id;
  }

  /** Why it is on that worker; null for one that was made before workers were chosen. */
  get placement(): Placement | null {
    return this.#info.placement;
  }

  /** What was known of it last; `refresh` asks anew. */
  get info(): SandboxInfo {
    return this.#info;
  }

  /**
   * Asks the server how it is.
   *
   * ```ts
   * const { state } = await sandbox.refresh();
   * ```
   */
  async refresh(options: CallOptions = {}): Promise<SandboxInfo> {
    this.#info = await fetchInfo(this.#client, this.id, options);
    return this.#info;
  }

  /**
   * Sets its time to live, counted from now.
   *
   * ```ts
   * const { expires_at } = await sandbox.extend("30m");
   * ```
   */
  async extend(ttl: string, options: CallOptions = {}): Promise<SandboxInfo> {
    this.#info = await this.#client.http.json({ ...options, method: "POST", path: `${pathOf(this.id)}/extend`, json: { ttl } });
    return this.#info;
  }

  /**
   * Ends it, from any state; everything in it is gone. Repeating it is fine.
   *
   * ```ts
   * const { state } = await sandbox.destroy(); // destroyed
   * ```
   */
  async destroy(options: CallOptions = {}): Promise<SandboxInfo> {
    this.#info = await this.#client.http.json({ ...options, method: "DELETE", path: pathOf(this.id) });
    return this.#info;
  }

  /**
   * A token that opens interactive processes of this sandbox (`action` exec) until its time, for where no key should be:
   * `new Caisson({ url, token })` in a browser, or the page `/terminal/{id}#token=…`.
   *
   * ```ts
   * const { token, expires_at } = await sandbox.createToken({ action: "exec", ttl: "1h" });
   * ```
   */
  async createToken(request: CreateToken, options: CallOptions = {}): Promise<Token> {
    return this.#client.http.json({ ...options, method: "POST", path: `${pathOf(this.id)}/tokens`, json: request });
  }

  /**
   * The address of its worker and a token for this one sandbox, for clients of your own that go there directly: the paths are
   * the same, the token is sent as `Authorization: Bearer`. This client does so by itself.
   *
   * ```ts
   * const { url, token } = await sandbox.createAccess({ ttl: "10m" });
   * if (url !== null) await fetch(`${url}/api/v1/sandboxes/${sandbox.id}/stats`, { headers: { authorization: `Bearer ${token}` } });
   * ```
   */
  async createAccess(request: CreateAccess = {}, options: CallOptions = {}): Promise<Access> {
    return this.#client.http.json({ ...options, method: "POST", path: `${pathOf(this.id)}/access`, json: request });
  }

  /**
   * What was run in it, newest first, page by page; also after its end.
   *
   * ```ts
   * await sandbox.commands.run("echo hello");
   * for await (const entry of sandbox.history()) console.log(entry.command, entry.exit_code);
   * ```
   */
  async *history(options: CallOptions & { readonly pageSize?: number } = {}): AsyncGenerator<ExecLogEntry, void, void> {
    const { signal, timeoutMs, pageSize: limit } = options;
    let cursor: string | undefined;
    do {
      const path = `${pathOf(this.id)}/exec-log`;
      const page: ExecLogPage = await this.#client.http.json({ signal, timeoutMs, method: "GET", path, query: { limit, cursor } });
      yield* page.items;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /**
   * The last lines of its console.
   *
   * ```ts
   * for (const line of await sandbox.logs({ lines: 20 })) console.log(line);
   * ```
   */
  async logs(options: CallOptions & { readonly lines?: number } = {}): Promise<readonly string[]> {
    const { signal, timeoutMs, lines } = options;
    const path = `${pathOf(this.id)}/logs`;
    return (await this.#http.json<ConsolePage>({ signal, timeoutMs, method: "GET", path, query: { lines } })).lines;
  }

  /**
   * The last lines of its console and those to come, until it ends. When the connection breaks it is made again where it was.
   *
   * ```ts no-run
   * for await (const line of sandbox.followLogs({ lines: 20 })) console.log(line);
   * ```
   */
  async *followLogs(options: CallOptions & { readonly lines?: number } = {}): AsyncGenerator<string, void, void> {
    const { signal, timeoutMs, lines } = options;
    const request = { http: this.#http, path: `${pathOf(this.id)}/logs/stream`, query: { lines }, signal, timeoutMs };
    for await (const { event, data } of followToEnd(request)) if (event === "lines") yield* (data as ConsolePage).lines;
  }

  /**
   * What it uses now.
   *
   * ```ts
   * const { memory, processes } = await sandbox.stats();
   * ```
   */
  async stats(options: CallOptions = {}): Promise<SandboxStats> {
    return this.#http.json({ ...options, method: "GET", path: `${pathOf(this.id)}/stats` });
  }

  /**
   * What it uses, again and again until it ends; from the second on with the use of processors in between.
   *
   * ```ts
   * for await (const { cpu, memory } of sandbox.statsStream({ interval: "500ms" })) {
   *   console.log(cpu.percent, memory.used_bytes);
   *   if (cpu.percent !== null) break;
   * }
   * ```
   */
  async *statsStream(options: CallOptions & { readonly interval?: string } = {}): AsyncGenerator<SandboxStats, void, void> {
    const { signal, timeoutMs, interval } = options;
    const request = { http: this.#http, path: `${pathOf(this.id)}/stats/stream`, query: { interval }, signal, timeoutMs };
    for await (const { event, data } of followToEnd(request)) if (event === "stats") yield data as SandboxStats;
  }

  /** Destroys it at the end of the scope that holds it with `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** What a sandbox tells until it ends: also where the stream broke off with it, and the server says afterwards that it has ended. */
async function* followToEnd(request: SseRequest): AsyncGenerator<SseMessage, void, void> {
  let begun = false;
  try {
    for await (const message of followEvents(request)) {
      begun = true;
      yield message;
    }
  } catch (error) {
    if (!begun || !(error instanceof CaissonApiError) || error.code !== "sandbox_destroyed") throw error;
  }
}

function pathOf(id: string): string {
  return `/sandboxes/${encodeURIComponent(id)}`;
}

function fetchInfo(client: Caisson, id: string, options: CallOptions): Promise<SandboxInfo> {
  return client.http.json({ signal: options.signal, timeoutMs: options.timeoutMs, method: "GET", path: pathOf(id) });
}
