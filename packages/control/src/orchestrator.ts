import {
  CaissonError,
  TRANSITIONAL_DEADLINES,
  isCaissonError,
  isRouted,
  isTerminal,
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
import type { Retention, SandboxRecord, Store } from "@caisson/store";
import { Admission } from "./admission.ts";
import { Cleaner, DESTROY_DEADLINE_MS } from "./cleaner.ts";
import type { ControlDefaults } from "./control-defaults.ts";
import { followConsole } from "./console-follower.ts";
import { eventFilter } from "./event-filter.ts";
import { followEvents, type EventNews } from "./event-follower.ts";
import { toExecLogEntry } from "./exec-log-view.ts";
import { HostDirectory } from "./host-directory.ts";
import { listFilter } from "./list-filter.ts";
import type { Logger } from "./logger.ts";
import { meteredStats } from "./metered-stats.ts";
import type { HealthReport, OperationName, OperationOptions, Operations, PortVisibility, SandboxOwner } from "./operations.ts";
import { checkTtl } from "./placement.ts";
import { ProcessRecorder } from "./process-recorder.ts";
import { Purger } from "./purger.ts";
import { Reaper } from "./reaper.ts";
import { Reconciler } from "./reconciler.ts";
import { recordedGuest } from "./recorded-guest.ts";
import { created, sandboxEnded, sandboxNotFound, workerUnavailable } from "./sandbox-errors.ts";
import { toSandbox } from "./sandbox-view.ts";
import { Starter } from "./starter.ts";
import { StateWriter } from "./state-writer.ts";
import { sendsNothing, WebhookSender, type SendWebhook } from "./webhooks/webhook-sender.ts";
import { Webhooks, type WebhookOperations } from "./webhooks/webhooks.ts";
import { withDeadline } from "./with-deadline.ts";

/** Rest between two reconciliations of a worker, in ms. */
const RECONCILE_EVERY_MS = 10_000;
/** Time the first reconciliation may hold up a start, in ms. */
const FIRST_ROUND_MS = 5_000;
/** Time that work under way gets at the end, in ms. */
const CLOSE_MS = 10_000;
/** Time a worker has to answer a small question, in ms. */
const ASK_DEADLINE_MS = 15_000;
/** Time a sandbox has to tell of its processes before its exec log is read without it, in ms. */
const CATCH_UP_MS = 2_000;
/** What a waiting caller gets beyond the deadline of what it waits for, in ms. */
const GRACE_MS = 5_000;

/** What the orchestrator needs; everything it touches is handed in. */
export interface OrchestratorOptions {
  /** The store's time: a `SteadyClock` that it was given, or the one of a database that others share. */
  readonly clock: Clock;
  readonly random?: Random;
  readonly store: Store;
  /** Workers by id. */
  readonly hosts: ReadonlyMap<string, SandboxHost>;
  readonly defaults: ControlDefaults;
  readonly logger: Logger;
  /** The client of a guest agent over a way to it. */
  readonly guestOf: (opener: ChannelOpener) => Guest;
  readonly retention?: Retention;
  /** Sends messages to webhooks. Default: none are sent. */
  readonly webhooks?: { readonly send: SendWebhook; readonly retriesMs: readonly number[] };
  /** The state machine. Default: the contract's. */
  readonly transition?: typeof transition;
}

/** The orchestrator: what users may ask for, and the loops that keep rows and boxes together. */
export class Orchestrator implements Operations {
  readonly webhooks: WebhookOperations;
  readonly #options: OrchestratorOptions;
  readonly #states: StateWriter;
  readonly #admission: Admission;
  readonly #cleaner: Cleaner;
  readonly #starter: Starter;
  readonly #reaper: Reaper;
  readonly #purger: Purger;
  readonly #recorder: ProcessRecorder;
  readonly #sender: WebhookSender;
  readonly #reconcilers: ReadonlyMap<string, Reconciler>;
  /** Ends the loops. */
  readonly #stop = new AbortController();
  /** Ends calls to workers. */
  readonly #abandon = new AbortController();
  #loops: Promise<unknown> | undefined;
  #takingOver: Promise<void> | undefined;

  constructor(options: OrchestratorOptions) {
    this.#options = options;
    const { clock, store, hosts, logger } = options;
    this.#states = new StateWriter({
      store,
      logger,
      ...(options.transition === undefined ? {} : { transition: options.transition }),
      carryOut: (command, sandbox) => {
        if (command === "destroy") this.#end(sandbox);
      },
    });
    const signal = this.#abandon.signal;
    const directory = new HostDirectory({ clock, hosts, logger, signal });
    const { random = systemRandom, defaults } = options;
    this.#admission = new Admission({ clock, random, store, directory, defaults });
    this.#cleaner = new Cleaner({ clock, store, hosts, logger, signal });
    const parts = { clock, store, logger, states: this.#states, cleaner: this.#cleaner };
    this.#starter = new Starter({ ...parts, hosts, signal });
    this.#reaper = new Reaper(parts);
    this.#purger = new Purger({ clock, store, logger, ...(options.retention === undefined ? {} : { retention: options.retention }) });
    const { send, retriesMs } = options.webhooks ?? { send: sendsNothing, retriesMs: [] };
    this.#sender = new WebhookSender({ clock, random, store, logger, send, retriesMs });
    this.webhooks = new Webhooks({ clock, random, store, sender: this.#sender });
    this.#recorder = new ProcessRecorder({
      clock,
      log: store.execLog,
      logger,
      guestOf: async (id) => {
        const seen = await store.sandboxes.get(id);
        return seen === undefined || isTerminal(seen.state) ? undefined : this.#guestOf(seen);
      },
    });
    this.#reconcilers = new Map(
      [...hosts].map(([id, host]) => [
        id,
        new Reconciler({ ...parts, host, starter: this.#starter, everyMs: RECONCILE_EVERY_MS, signal: this.#stop.signal }),
      ]),
    );
  }

  /** Starts the loops. Resolves when every worker was reconciled once, or soon anyway. */
  async start(): Promise<void> {
    if (this.#loops !== undefined) return;
    const reconcilers = [...this.#reconcilers.values()];
    const { signal } = this.#stop;
    this.#loops = Promise.all([
      this.#reaper.run(signal),
      this.#purger.run(signal),
      this.#recorder.run(signal),
      this.#sendWebhooks(),
      ...reconcilers.map((reconciler) => reconciler.run()),
    ]);
    try {
      const deadline = { clock: this.#options.clock, ms: FIRST_ROUND_MS, what: "the first reconciliation", signal: this.#stop.signal };
      await withDeadline(deadline, () => Promise.all(reconcilers.map((reconciler) => reconciler.firstRound)));
    } catch (error) {
      this.#options.logger.warn({ outcome: toCaissonError(error).code }, "started before every worker was reconciled");
    }
    this.#takingOver = this.#takeOverProcesses();
  }

  /** Takes no new work, gives what is under way some time, and leaves the rest to reconciliation. */
  async close(): Promise<void> {
    this.#stop.abort(new CaissonError("shutting_down", "The server is shutting down."));
    const idle = (): Promise<unknown> => Promise.all([this.#loops, this.#takingOver, this.#starter.idle(), this.#cleaner.idle()]);
    try {
      await withDeadline({ clock: this.#options.clock, ms: CLOSE_MS, what: "work under way" }, idle);
    } catch (error) {
      this.#options.logger.warn({ outcome: toCaissonError(error).code }, "work under way is left to the next start");
      this.#abandon.abort(this.#stop.signal.reason);
      await idle();
    }
  }

  create(request: CreateSandbox, options: OperationOptions & { readonly idempotencyKey?: string } = {}): Promise<Sandbox> {
    return this.#measured("create", undefined, options, async (line) => {
      const reserved = await this.#admission.admit(request, options.idempotencyKey);
      line["sandbox_id"] = reserved.id;
      if (reserved.state === "creating") {
        const { clock } = this.#options;
        this.#reaper.within(Math.min(reserved.expiresAt, reserved.deadlineAt ?? Infinity) - clock.now());
        // The caller may leave; the creation goes on.
        const driven = this.#starter.drive(reserved);
        const ms = TRANSITIONAL_DEADLINES.creating + GRACE_MS;
        await withDeadline({ clock, ms, what: "the creation", ...signalOf(options) }, () => driven);
      }
      return toSandbox(created(await this.#record(reserved.id)));
    });
  }

  get(id: string, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#measured("get", id, options, async () => toSandbox(await this.#record(id)));
  }

  list(query: ListSandboxesQuery, options: OperationOptions = {}): Promise<SandboxPage> {
    return this.#measured("list", undefined, options, async () => {
      const page = await this.#options.store.sandboxes.list(listFilter(query));
      return { items: page.items.map(toSandbox), next_cursor: page.nextCursor };
    });
  }

  extend(id: string, ttlMs: number, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#measured("extend", id, options, async () => {
      checkTtl(ttlMs, this.#options.defaults);
      for (;;) {
        const seen = await this.#record(id);
        if (isTerminal(seen.state)) throw sandboxEnded(seen);
        const extended = await this.#options.store.sandboxes.extend(id, seen.version, ttlMs);
        if (extended === undefined) continue; // somebody else made progress
        this.#reaper.within(ttlMs);
        return toSandbox(extended);
      }
    });
  }

  destroy(id: string, options: OperationOptions = {}): Promise<Sandbox> {
    return this.#measured("destroy", id, options, async () => {
      // What waits for its transaction comes before the end of its sandbox; where it cannot, it comes after.
      await this.#recorder.flush().catch(() => undefined);
      const { sandbox } = await this.#states.advance(id, "destroy_requested");
      const { clock, store } = this.#options;
      // Joins the clean-up that the transition began; a repeated destroy finds what an earlier one could not finish.
      if ((await store.sandboxes.lease(id)) !== undefined) {
        const deadline = { clock, ms: DESTROY_DEADLINE_MS + GRACE_MS, what: "the end of the box", ...signalOf(options) };
        await withDeadline(deadline, () => this.#cleaner.clean(sandbox));
      }
      return toSandbox(sandbox);
    });
  }

  withGuest<T>(
    id: string,
    operation: OperationName,
    use: (guest: Guest, sandbox: Sandbox) => Promise<T>,
    options: OperationOptions & { readonly detail?: string } = {},
  ): Promise<T> {
    return this.#measured(operation, id, options, async () => {
      const seen = await this.#record(id);
      const host = this.#routed(seen);
      let result: T;
      try {
        const { detail, keyName, requestId } = options;
        const ref = { sandboxId: id, epoch: seen.epoch };
        const plain = this.#options.guestOf(host.guest(ref));
        const guest = recordedGuest(plain, {
          sandboxId: id,
          stats: (callOptions) => meteredStats(plain, host, ref, callOptions),
          operation,
          ...(detail === undefined ? {} : { detail }),
          ...(keyName === undefined ? {} : { keyName }),
          ...(requestId === undefined ? {} : { requestId }),
          recorder: this.#recorder,
          now: () => this.#options.clock.now(),
        });
        result = await use(guest, toSandbox(seen));
      } catch (error) {
        throw await this.#doubt(seen, error);
      }
      if (seen.state === "unhealthy") await this.#recovered(seen);
      return result;
    });
  }

  publishedPorts(id: string, options: OperationOptions = {}): Promise<readonly PortVisibility[]> {
    return this.#measured("port.visibility", id, options, async () => {
      const seen = await this.#record(id);
      if (isTerminal(seen.state)) throw sandboxEnded(seen);
      return this.#options.store.ports.list(id);
    });
  }

  publishPort(id: string, visibility: PortVisibility, options: OperationOptions = {}): Promise<void> {
    return this.#measured("port.publish", id, options, async () => {
      // The sandbox may end between the two: then the store refuses, and the second look says why.
      if (await this.#options.store.ports.put(id, visibility)) return;
      throw sandboxEnded(await this.#record(id));
    });
  }

  unpublishPort(id: string, port: number, options: OperationOptions = {}): Promise<void> {
    return this.#measured("port.unpublish", id, options, async () => {
      const seen = await this.#record(id);
      if (isTerminal(seen.state)) throw sandboxEnded(seen);
      await this.#options.store.ports.remove(id, port);
    });
  }

  async portAccess(id: string, port: number): Promise<"public" | "private" | "ended"> {
    if ((await this.#options.store.ports.get(id, port))?.public === true) return "public";
    const seen = await this.#options.store.sandboxes.get(id);
    return seen !== undefined && isTerminal(seen.state) ? "ended" : "private";
  }

  owner(id: string, options: OperationOptions = {}): Promise<SandboxOwner> {
    return this.#measured("owner", id, options, async () => {
      const seen = await this.#unended(id);
      const worker = await this.#options.store.workers.get(seen.workerId);
      return {
        workerId: seen.workerId,
        epoch: seen.epoch,
        expiresAt: seen.expiresAt,
        publicUrl: worker?.publicUrl ?? null,
        previewDomain: worker?.previewDomain ?? null,
        previewUrl: worker?.previewUrl ?? null,
      };
    });
  }

  execLog(id: string, query: ExecLogQuery, options: OperationOptions = {}): Promise<ExecLogPage> {
    return this.#measured("exec_log", id, options, async () => {
      const { store, clock, logger } = this.#options;
      const seen = await store.sandboxes.get(id);
      try {
        const deadline = { clock, ms: CATCH_UP_MS, what: "the sandbox's own list", ...signalOf(options) };
        if (seen === undefined || !isRouted(seen.state) || query.cursor !== undefined) await this.#recorder.flush();
        else await withDeadline(deadline, () => this.#recorder.catchUp(id, this.#guestOf(seen)));
      } catch (error) {
        options.signal?.throwIfAborted();
        logger.debug({ sandbox_id: id, outcome: toCaissonError(error).code }, "the exec log was read without asking the sandbox");
      }
      const page = await store.execLog.page(id, query.limit ?? 100, query.cursor);
      if (seen === undefined && page.items.length === 0) throw sandboxNotFound(id);
      return { items: page.items.map(toExecLogEntry), next_cursor: page.nextCursor };
    });
  }

  logs(id: string, range: ConsoleRange, options: OperationOptions = {}): Promise<ConsoleChunk> {
    return this.#measured("logs", id, options, async () => this.#readConsole(await this.#unended(id), range, options));
  }

  followLogs(
    id: string,
    from: ConsoleRange,
    options: OperationOptions & { readonly signal: AbortSignal },
  ): Promise<AsyncIterable<ConsoleChunk>> {
    return this.#measured("logs.follow", id, options, async () => {
      const seen = await this.#unended(id);
      const read = (range: ConsoleRange): Promise<ConsoleChunk> => this.#readConsole(seen, range, options);
      return followConsole({ from, read, look: () => this.#record(id), clock: this.#options.clock, signal: options.signal });
    });
  }

  events(query: ListEventsQuery, options: OperationOptions = {}): Promise<readonly Event[]> {
    const { events } = this.#options.store;
    const { after = 0, before, limit = 100 } = query;
    return this.#measured("events", undefined, options, () => {
      const filter = eventFilter(query);
      return before === undefined ? events.after(after, limit, filter) : events.before(before, limit, filter);
    });
  }

  followEvents(query: FollowEventsQuery, options: OperationOptions & { readonly signal: AbortSignal }): Promise<AsyncIterable<EventNews>> {
    const { store, clock } = this.#options;
    const { after } = query;
    const from = after === undefined ? {} : { after };
    const filter = eventFilter(query);
    return this.#measured("events.follow", undefined, options, () =>
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

  async #sendWebhooks(): Promise<void> {
    if (this.#options.webhooks !== undefined) await this.#sender.run(this.#stop.signal);
  }

  /** What a predecessor did not write of processes in sandboxes that live. */
  async #takeOverProcesses(): Promise<void> {
    const { store, hosts, logger } = this.#options;
    try {
      const leased = await Promise.all([...hosts.keys()].map((workerId) => store.sandboxes.leased(workerId)));
      const live = leased.flat().filter(({ sandbox }) => isRouted(sandbox.state));
      await this.#recorder.takeOver(live.map(({ sandbox }) => sandbox.id));
    } catch (error) {
      logger.warn({ outcome: toCaissonError(error).code, err: error }, "the processes of a predecessor were not taken over");
    }
  }

  #guestOf(seen: SandboxRecord): Guest {
    return this.#options.guestOf(this.#hostOf(seen).guest({ sandboxId: seen.id, epoch: seen.epoch }));
  }

  /** The command `destroy` of a transition. */
  #end(sandbox: SandboxRecord): void {
    this.#starter.cancel(sandbox.id);
    void this.#cleaner.clean(sandbox);
  }

  /** Its agent answered again. What was done in it is done, whether or not this can be written. */
  async #recovered(seen: SandboxRecord): Promise<void> {
    try {
      await this.#states.observe(seen, "agent_back");
    } catch (error) {
      this.#options.logger.warn({ sandbox_id: seen.id, outcome: toCaissonError(error).code, err: error }, "a recovery was not written");
    }
  }

  /** What a failure in a guest says of the sandbox, and what to tell the caller. */
  async #doubt(seen: SandboxRecord, error: unknown): Promise<unknown> {
    if (!isCaissonError(error, "agent_unreachable", "sandbox_not_found", "lease_lost", "worker_unavailable")) return error;
    await this.#reconcilers.get(seen.workerId)?.recheck(seen);
    const now = await this.#options.store.sandboxes.get(seen.id);
    if (now !== undefined && isTerminal(now.state)) return sandboxEnded(now, error);
    if (isCaissonError(error, "agent_unreachable", "worker_unavailable")) return error;
    return new CaissonError("agent_unreachable", "The worker of the sandbox does not find it now.", { cause: error, retryAfter: 1 });
  }

  /** The worker to route to; the error that says why not. */
  #routed(seen: SandboxRecord): SandboxHost {
    if (isTerminal(seen.state)) throw sandboxEnded(seen);
    if (seen.state === "missing") throw workerUnavailable(seen);
    if (!isRouted(seen.state)) {
      throw new CaissonError("state_conflict", `The sandbox is ${seen.state}; it must be running.`, { detail: { state: seen.state } });
    }
    return this.#hostOf(seen);
  }

  #hostOf(seen: SandboxRecord): SandboxHost {
    const host = this.#options.hosts.get(seen.workerId);
    if (host === undefined) throw workerUnavailable(seen);
    return host;
  }

  /** A sandbox that has not ended. */
  async #unended(id: string): Promise<SandboxRecord> {
    const seen = await this.#record(id);
    if (isTerminal(seen.state)) throw sandboxEnded(seen);
    return seen;
  }

  #readConsole(seen: SandboxRecord, range: ConsoleRange, options: OperationOptions): Promise<ConsoleChunk> {
    const host = this.#hostOf(seen);
    const deadline = { clock: this.#options.clock, ms: ASK_DEADLINE_MS, what: "the console", ...signalOf(options) };
    return withDeadline(deadline, (signal) => host.logs({ sandboxId: seen.id, epoch: seen.epoch }, range, signal));
  }

  async #record(id: string): Promise<SandboxRecord> {
    const record = await this.#options.store.sandboxes.get(id);
    if (record === undefined) throw sandboxNotFound(id);
    return record;
  }

  /** One log line for every operation: what, on which sandbox, how it ended, how long it took. */
  async #measured<T>(
    operation: string,
    id: string | undefined,
    options: OperationOptions & { readonly detail?: string },
    run: (line: Record<string, unknown>) => Promise<T>,
  ): Promise<T> {
    const { clock, logger } = this.#options;
    const line: Record<string, unknown> = { operation, sandbox_id: id, request_id: options.requestId };
    const begun = clock.monotonic();
    try {
      if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
      const result = await run(line);
      logger.info({ ...line, outcome: "ok", duration_ms: round(clock.monotonic() - begun) }, "operation");
      return result;
    } catch (thrown) {
      const error = toCaissonError(thrown);
      const told = { ...line, outcome: error.code, duration_ms: round(clock.monotonic() - begun) };
      if (error.code === "internal") logger.error({ ...told, err: error }, "operation");
      else logger.info(told, "operation");
      throw error;
    } finally {
      if (options.detail !== undefined) logger.debug({ ...line, detail: options.detail }, "operation detail");
    }
  }
}

function signalOf(options: OperationOptions): { readonly signal?: AbortSignal } {
  return options.signal === undefined ? {} : { signal: options.signal };
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
