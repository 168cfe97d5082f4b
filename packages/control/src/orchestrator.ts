import {
  CaissonError,
  systemRandom,
  toCaissonError,
  type transition,
  type ChannelOpener,
  type Clock,
  type ConsoleChunk,
  type ConsoleRange,
  type CreateSandbox,
  type Event,
  type ExecLogPage,
  type ExecLogQuery,
  type FollowEventsQuery,
  type ListEventsQuery,
  type ListSandboxesQuery,
  type Random,
  type Sandbox,
  type SandboxHost,
  type SandboxPage,
} from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import type { ControlPlaneRecord, Retention, Store } from "@caisson/store";
import { assemble, type Parts } from "./assemble.ts";
import type { ControlDefaults } from "./control-defaults.ts";
import { eventFilter } from "./event-filter.ts";
import { followEvents, type EventNews } from "./event-follower.ts";
import type { ConnectedHosts } from "./hosts.ts";
import type { Logger } from "./logger.ts";
import type { HealthReport, OperationName, OperationOptions, Operations, PortVisibility, SandboxOwner } from "./operations.ts";
import type { SendWebhook } from "./webhooks/webhook-sender.ts";
import type { WebhookOperations } from "./webhooks/webhooks.ts";
import { withDeadline } from "./with-deadline.ts";
import type { WorkerFacts } from "./workers/attached-worker.ts";
import type { FarWorkers } from "./workers/far-workers.ts";
import type { FleetSettings } from "./workers/fleet-settings.ts";
import type { WorkerIdentities } from "./workers/worker-identities.ts";
import type { WorkerOperations } from "./workers/worker-operations.ts";
import type { WorkerSessions } from "./workers/worker-sessions.ts";

/** Time the first reconciliation may hold up a start, in ms. */
const FIRST_ROUND_MS = 5_000;
/** Time that work under way gets at the end, in ms. */
const CLOSE_MS = 10_000;

/** What the orchestrator needs; everything it touches is handed in. */
export interface OrchestratorOptions {
  /** The store's time: a `SteadyClock` that it was given, or the one of a database that others share. */
  readonly clock: Clock;
  readonly random?: Random;
  readonly store: Store;
  /** Where the ways to workers are kept; sessions and attached workers are added to it. Default: a new one. */
  readonly hosts?: ConnectedHosts;
  readonly defaults: ControlDefaults;
  /** How workers are judged and chosen. Default: the configuration's defaults. */
  readonly fleet?: FleetSettings;
  /** This control plane among others. Its id must be another one in every process that shares the database. Default: the only one. */
  readonly controlPlane?: ControlPlaneRecord;
  /** Whether the credentials of workers are good still. Default: they are. */
  readonly identities?: Pick<WorkerIdentities, "stillGood" | "revoke" | "challenge" | "renew">;
  /** Public keys (JWK set) that sign tokens for clients that come to a worker directly. Default: none. */
  readonly keys?: WorkerIdentities["publicKeys"];
  readonly logger: Logger;
  /** The client of a guest agent over a way to it. */
  readonly guestOf: (opener: ChannelOpener) => Guest;
  readonly retention?: Retention;
  /** Sends messages to webhooks. Default: none are sent. */
  readonly webhooks?: { readonly send: SendWebhook; readonly retriesMs: readonly number[] };
  /** The state machine. Default: the contract's. */
  readonly transition?: typeof transition;
}

/** The orchestrator: what users may ask for, and the loops that keep rows, boxes and workers together. */
export class Orchestrator implements Operations {
  readonly webhooks: WebhookOperations;
  /** Where links with workers arrive. */
  readonly sessions: WorkerSessions;
  /** What an admin may do with workers. */
  readonly workers: WorkerOperations;
  /** Workers that others may have a link with. */
  readonly farWorkers: FarWorkers;
  readonly #options: OrchestratorOptions;
  readonly #parts: Parts;
  /** Ends the loops. */
  readonly #stop = new AbortController();
  /** Ends calls to workers. */
  readonly #abandon = new AbortController();
  #loops: Promise<unknown> | undefined;

  constructor(options: OrchestratorOptions) {
    this.#options = options;
    this.#parts = assemble({ random: systemRandom, ...options }, { stop: this.#stop.signal, abandon: this.#abandon.signal });
    this.webhooks = this.#parts.webhooks;
    this.sessions = this.#parts.fleet.sessions;
    this.workers = this.#parts.workers;
    this.farWorkers = this.#parts.fleet.farWorkers;
  }

  /**
   * Adds a worker that has no link: the one in this process. What it says of itself is asked every 10 s (default: what it
   * describes, without bounds). One that was removed before is taken back.
   */
  attach(host: SandboxHost, facts?: (signal: AbortSignal) => Promise<WorkerFacts>): void {
    this.#parts.fleet.attach(host, facts);
  }

  /** Starts the loops. Resolves when every attached worker was heard and every worker reconciled once, or soon anyway. */
  async start(): Promise<void> {
    if (this.#loops !== undefined) return;
    const { fleet, purger, reaper, recorder, sender } = this.#parts;
    const { signal } = this.#stop;
    const sending = this.#options.webhooks === undefined ? undefined : sender.run(signal);
    this.#loops = Promise.all([reaper.run(signal), purger.run(signal), recorder.run(signal), sending]);
    try {
      const deadline = { clock: this.#options.clock, ms: FIRST_ROUND_MS, what: "the first reconciliation", signal };
      await withDeadline(deadline, () => fleet.start());
    } catch (error) {
      this.#options.logger.warn({ outcome: toCaissonError(error).code }, "started before every worker was reconciled");
    }
  }

  /** Takes no new work, gives what is under way some time, and leaves the rest to others and to the next start. */
  async close(): Promise<void> {
    const { cleaner, fleet, starter } = this.#parts;
    const reason = new CaissonError("shutting_down", "The server is shutting down.");
    this.#stop.abort(reason);
    const idle = (): Promise<unknown> => Promise.all([this.#loops, fleet.idle(), starter.idle(), cleaner.idle()]);
    try {
      await withDeadline({ clock: this.#options.clock, ms: CLOSE_MS, what: "work under way" }, idle);
    } catch (error) {
      this.#options.logger.warn({ outcome: toCaissonError(error).code }, "work under way is left to the next start");
      this.#abandon.abort(reason);
      await idle();
    }
    fleet.sessions.end(reason);
  }

  create(request: CreateSandbox, options: OperationOptions & { readonly idempotencyKey?: string } = {}): Promise<Sandbox> {
    return this.#parts.lifecycle.create(request, options);
  }

  get(id: string, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#parts.lifecycle.get(id, options);
  }

  list(query: ListSandboxesQuery, options: OperationOptions = {}): Promise<SandboxPage> {
    return this.#parts.lifecycle.list(query, options);
  }

  extend(id: string, ttlMs: number, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#parts.lifecycle.extend(id, ttlMs, options);
  }

  destroy(id: string, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#parts.lifecycle.destroy(id, options);
  }

  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: Sandbox) => Promise<T>,
    options: OperationOptions & { readonly detail?: string } = {},
  ): Promise<T> {
    return this.#parts.guests.withGuest(id, operation, use, options);
  }

  publishedPorts(id: string, options: OperationOptions = {}): Promise<readonly PortVisibility[]> {
    return this.#parts.ports.published(id, options);
  }

  publishPort(id: string, visibility: PortVisibility, options: OperationOptions = {}): Promise<void> {
    return this.#parts.ports.publish(id, visibility, options);
  }

  unpublishPort(id: string, port: number, options: OperationOptions = {}): Promise<void> {
    return this.#parts.ports.unpublish(id, port, options);
  }

  portAccess(id: string, port: number): Promise<"public" | "private" | "ended"> {
    return this.#parts.ports.access(id, port);
  }

  owner(id: string, options: OperationOptions = {}): Promise<SandboxOwner> {
    return this.#parts.lifecycle.owner(id, options);
  }

  execLog(id: string, query: ExecLogQuery, options: OperationOptions = {}): Promise<ExecLogPage> {
    return this.#parts.guests.execLog(id, query, options);
  }

  logs(id: string, range: ConsoleRange, options: OperationOptions = {}): Promise<ConsoleChunk> {
    return this.#parts.guests.logs(id, range, options);
  }

  followLogs(
    id: string,
    from: ConsoleRange,
    options: OperationOptions & { readonly signal: AbortSignal },
  ): Promise<AsyncIterable<ConsoleChunk>> {
    return this.#parts.guests.followLogs(id, from, options);
  }

  events(query: ListEventsQuery, options: OperationOptions = {}): Promise<readonly Event[]> {
    const { events } = this.#options.store;
    const { after = 0, before, limit = 100 } = query;
    return this.#parts.meter.measured("events", undefined, options, () => {
      const filter = eventFilter(query);
      return before === undefined ? events.after(after, limit, filter) : events.before(before, limit, filter);
    });
  }

  followEvents(query: FollowEventsQuery, options: OperationOptions & { readonly signal: AbortSignal }): Promise<AsyncIterable<EventNews>> {
    const { store, clock } = this.#options;
    const { after } = query;
    const from = after === undefined ? {} : { after };
    const filter = eventFilter(query);
    return this.#parts.meter.measured("events.follow", undefined, options, () =>
      followEvents({ events: store.events, clock, filter, signal: options.signal, ...from }),
    );
  }

  async health(): Promise<HealthReport> {
    try {
      return { store: true, workers: await this.#options.store.workers.count() };
    } catch (error) {
      this.#options.logger.error({ outcome: toCaissonError(error).code, err: error }, "the database does not answer");
      return { store: false, workers: null };
    }
  }
}
