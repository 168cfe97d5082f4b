import type {
  ConsoleChunk,
  ConsoleRange,
  CreateSandbox,
  Event,
  ExecLogPage,
  ExecLogQuery,
  FollowEventsQuery,
  ListEventsQuery,
  ListSandboxesQuery,
  Sandbox,
  SandboxPage,
  WorkerState,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { EventNews } from "./event-follower.ts";
import type { WebhookOperations } from "./webhooks/webhooks.ts";

/** What is done in a sandbox; names events, metrics and log lines of every operation alike. */
export type OperationName =
  | "exec"
  | "process.list"
  | "process.get"
  | "process.output"
  | "process.attach"
  | "process.wait"
  | "process.resize"
  | "process.signal"
  | "process.input"
  | "file.read"
  | "file.write"
  | "file.list"
  | "file.stat"
  | "file.glob"
  | "file.delete"
  | "file.move"
  | "file.chmod"
  | "file.chown"
  | "file.mkdir"
  | "file.upload"
  | "file.archive"
  | "file.extract"
  | "file.xattrs"
  | "file.search"
  | "file.replace"
  | "file.watch"
  | "file.sign"
  | "port.list"
  | "port.connect"
  | "port.preview"
  | "code.run"
  | "code.contexts"
  | "code.interrupt"
  | "stats"
  | "stats.follow";

/** Options of every call. */
export interface OperationOptions {
  readonly signal?: AbortSignal;
  /** Id of the request that caused it, for logs. */
  readonly requestId?: string;
  /** Name of the key of who asks, for the exec log. */
  readonly keyName?: string;
  /** Epoch that a client of a worker was let in for; on any other `lease_lost`. */
  readonly epoch?: number;
}

/** What is known of a sandbox wherever work is done in it. */
export type SandboxFacts = Pick<Sandbox, "id" | "state" | "reason" | "vcpus" | "memory_mb">;

/** How the whole is. */
export interface HealthReport {
  /** The database answers. */
  readonly store: boolean;
  /** Workers by state; null when the database does not answer. */
  readonly workers: Readonly<Record<Exclude<WorkerState, "removed">, number>> | null;
}

/** A port whose visibility was set. */
export interface PortVisibility {
  readonly port: number;
  /** Whether its preview needs no key and no token. */
  readonly public: boolean;
}

/** Who runs a sandbox, and where that worker can be reached. */
export interface SandboxOwner {
  readonly workerId: string;
  /** Epoch of its lease. */
  readonly epoch: number;
  /** When the sandbox ends, in ms since the Unix epoch. */
  readonly expiresAt: number;
  /** What the time is by the same clock, which all control planes and workers go by. */
  readonly now: number;
  /** Where clients may reach the worker directly for data; null where they may not. */
  readonly publicUrl: string | null;
  /** Domain below which ports of its sandboxes are shown; null for the control plane's own. */
  readonly previewDomain: string | null;
  /** Scheme, domain and port with which browsers reach them; null: `http` and that domain. */
  readonly previewUrl: string | null;
}

/** What is done inside sandboxes that run: through a control plane, or on the worker itself. */
export interface DataOperations {
  /** What is known of a sandbox now. */
  get(id: string, options?: OperationOptions): Promise<SandboxFacts>;
  /** Runs `use` with the guest of a sandbox that runs. `detail` goes to the log. A stream counts until `use` settles. */
  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: SandboxFacts) => Promise<T>,
    options?: OperationOptions & { readonly detail?: string },
  ): Promise<T>;
  /** What someone without a key may know of a port, for every request to a preview; writes no log line. */
  portAccess(id: string, port: number): Promise<"public" | "private" | "ended">;
  /** Lines of the sandbox's console: the last ones, or those after a byte offset. */
  logs(id: string, range: ConsoleRange, options?: OperationOptions): Promise<ConsoleChunk>;
  /** Lines of the console from there on, as they come; it ends with the sandbox, or with the signal. */
  followLogs(
    id: string,
    from: ConsoleRange,
    options: OperationOptions & { readonly signal: AbortSignal },
  ): Promise<AsyncIterable<ConsoleChunk>>;
}

/** The one door to sandboxes: routes, and later other front ends, use this and nothing below it. */
export interface Operations extends DataOperations {
  /** Telling others of events. */
  readonly webhooks: WebhookOperations;
  /** Creates a sandbox and waits until it runs. The same idempotency key and request returns the same sandbox. */
  create(request: CreateSandbox, options?: OperationOptions & { readonly idempotencyKey?: string }): Promise<Sandbox>;
  /** `sandbox_not_found` when there never was one; ended ones are still shown. */
  get(id: string, options?: OperationOptions): Promise<Sandbox>;
  /** Newest first. */
  list(query: ListSandboxesQuery, options?: OperationOptions): Promise<SandboxPage>;
  /** Sets the time to live from now; bounded by `defaults.max_ttl`. */
  extend(id: string, ttlMs: number, options?: OperationOptions): Promise<Sandbox>;
  /**
   * Ends a sandbox, from any state. The state is `destroyed` when this resolves, and what it left on its worker is gone, or,
   * when the worker cannot be reached, will be removed by reconciliation. Repeating it is fine.
   */
  destroy(id: string, options?: OperationOptions): Promise<Sandbox>;
  /**
   * Runs `use` with the guest of a sandbox that is routed: the one place where state is checked (404, 409, 410, 503), where
   * durations are measured and where operations are logged. `detail` goes to the log. A stream counts until `use` settles.
   */
  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: Sandbox) => Promise<T>,
    options?: OperationOptions & { readonly detail?: string },
  ): Promise<T>;
  /** Ports whose visibility was set, by number. Ended sandboxes have none: `sandbox_destroyed`. */
  publishedPorts(id: string, options?: OperationOptions): Promise<readonly PortVisibility[]>;
  /** Sets the visibility of a port; it is gone with the sandbox. Repeating it is fine. */
  publishPort(id: string, visibility: PortVisibility, options?: OperationOptions): Promise<void>;
  /** Makes a port private again and forgets it. Repeating it is fine. */
  unpublishPort(id: string, port: number, options?: OperationOptions): Promise<void>;
  /** Who runs a sandbox that has not ended, and where that worker can be reached. */
  owner(id: string, options?: OperationOptions): Promise<SandboxOwner>;
  /** What was run in a sandbox, newest first, also after its end. */
  execLog(id: string, query: ExecLogQuery, options?: OperationOptions): Promise<ExecLogPage>;
  /** Events after a position, or the last before one, oldest first, at most `limit`. */
  events(query: ListEventsQuery, options?: OperationOptions): Promise<readonly Event[]>;
  /**
   * Events after a position, or from now on, and then as they happen; it ends with the signal only. `invalid_request` for a
   * position that was never given.
   */
  followEvents(query: FollowEventsQuery, options: OperationOptions & { readonly signal: AbortSignal }): Promise<AsyncIterable<EventNews>>;
  /** Whether the database answers, and how many workers there are: for `/ready` and `/health`. */
  health(): Promise<HealthReport>;
}
