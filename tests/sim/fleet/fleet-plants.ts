import {
  CaissonError,
  isCaissonError,
  transition,
  type SandboxEvent,
  type SandboxHost,
  type SandboxState,
  type Transition,
} from "@caisson/contract";
import type { WorkerSession } from "@caisson/control";
import type { Store, WorkerRecord } from "@caisson/store";
import { changed, withRepository } from "../changed.ts";

/** A bug put in on purpose, to prove that the simulator would find it. */
export interface FleetPlant {
  readonly store?: (store: Store) => Store;
  readonly transition?: typeof transition;
  /** The way to a worker. */
  readonly host?: (host: SandboxHost) => SandboxHost;
  /** What a worker says over its link. */
  readonly session?: (session: WorkerSession) => WorkerSession;
  /** Triggers that the database has besides its own. */
  readonly triggers?: Readonly<Record<string, string>>;
  /** Worlds of this bug have a worker that cannot be reached for long, which few have by chance. */
  readonly partition?: true;
  /** Worlds of this bug have control planes that a worker does not answer, while others are heard and answered. */
  readonly ignored?: true;
  /** Workers forget which epochs they have seen. */
  readonly forgetful?: true;
}

function withHost(change: (host: SandboxHost) => Partial<SandboxHost>): FleetPlant {
  return { host: (host) => changed(host, change(host)) };
}

function withTransition(change: (state: SandboxState, event: SandboxEvent) => Transition | undefined): FleetPlant {
  return { transition: (state, event) => change(state, event) ?? transition(state, event) };
}

/** Another state machine, where a worker cannot be reached for long. */
function apart(change: (state: SandboxState, event: SandboxEvent) => Transition | undefined): FleetPlant {
  return { ...withTransition(change), partition: true };
}

/** Workers that are chosen by what they are not, and promised without a look at the row. */
function misjudged(change: (worker: WorkerRecord) => Partial<WorkerRecord>): FleetPlant {
  return {
    store: (store) => {
      const { sandboxes, workers } = store;
      return changed(store, {
        workers: changed(workers, {
          list: async (filter) => (await workers.list(filter)).map((worker) => ({ ...worker, ...change(worker) })),
        }),
        sandboxes: changed(sandboxes, {
          reserve: (request) => {
            const { bounds: _, ...rest } = request;
            return sandboxes.reserve(rest);
          },
        }),
      });
    },
  };
}

/** A bug, and how it must be found. */
export interface Planted {
  /** Most seeds that it may take. */
  readonly within: number;
  readonly plant: FleetPlant;
  /** What must be said of it. Default: anything. */
  readonly as?: RegExp;
}

/** Bugs that the simulator must find. */
export const FLEET_PLANTS: Readonly<Record<string, Planted>> = {
  "a move before the first worker confirmed": {
    within: 1_500,
    as: /was moved while|runs on/,
    plant: withHost((host) => ({
      // An answer that was lost is taken for a refusal, and a destroy for done when it is sent.
      start: (spec, signal) =>
        host.start(spec, signal).catch((error: unknown) => {
          throw isCaissonError(error, "worker_unavailable") ? new CaissonError("provider_failed", "simulated: taken for a refusal") : error;
        }),
      destroy: async (ref, signal) => {
        void host.destroy(ref, signal).catch(() => undefined);
      },
    })),
  },
  "a worker that forgets epochs": { within: 600, as: /runs on|never reserved|is the right of/, plant: { forgetful: true } },
  "counters that are not given back": {
    within: 100,
    plant: {
      triggers: {
        kept: "after delete on main.leases begin update workers set reserved_sandboxes = reserved_sandboxes + 1 where id = old.worker_id; end",
      },
    },
  },
  "a reservation that asks for no room": {
    within: 300,
    plant: {
      store: (store) =>
        withRepository(store, "sandboxes", (sandboxes) => ({
          reserve: (request) => {
            const { bounds: _, ...rest } = request;
            return sandboxes.reserve(rest);
          },
        })),
    },
  },
  "a drain that nobody looks at": {
    within: 300,
    as: /drained/,
    plant: misjudged(({ state }) => ({ adminDrain: false, selfDrain: false, state: state === "draining" ? "online" : state })),
  },
  "a tenant who gets another one's worker": { within: 300, plant: misjudged(() => ({ tenantId: null })) },
  "labels that nobody looks at": { within: 300, plant: misjudged(() => ({ labels: { zone: "x" } })) },
  "boxes that nobody sees": { within: 300, plant: withHost(() => ({ inventory: () => Promise.resolve([]) })) },
  "a liar who is believed": {
    within: 300,
    plant: { session: (session) => changed(session, { report: () => Promise.resolve() }) },
  },
  "a lost fence": {
    within: 300,
    plant: {
      store: (store) =>
        withRepository(store, "sandboxes", (sandboxes) => ({
          apply: async (id, _version, change) => {
            const now = await sandboxes.get(id);
            return now === undefined ? undefined : sandboxes.apply(id, now.version, change);
          },
        })),
    },
  },
  "a destroy that does not win": {
    within: 300,
    plant: withTransition((state, event) => (state === "creating" && event === "destroy_requested" ? { kind: "ignore" } : undefined)),
  },
  "a worker that cannot be reached taken for dead": {
    within: 50,
    plant: apart((state, event) =>
      event === "worker_unreachable" && (state === "running" || state === "unhealthy")
        ? { kind: "next", state: "stopped", commands: ["destroy"] }
        : undefined,
    ),
  },
  "sandboxes that are never found again": {
    within: 50,
    plant: apart((state, event) => (state === "missing" && event === "found_running" ? { kind: "ignore" } : undefined)),
  },
  "a worker called silent that was heard": {
    within: 300,
    plant: {
      store: (store) =>
        withRepository(store, "workers", (workers) => ({
          silent: () => workers.silent(5_000),
          change: (id, version, change) => {
            const { silentMs: _, ...rest } = change;
            return workers.change(id, version, rest);
          },
        })),
    },
  },
  "a worker that stays unreachable though it is heard": {
    within: 50,
    as: /unreachable though/,
    plant: {
      partition: true,
      store: (store) =>
        withRepository(store, "workers", (workers) => ({
          change: async (id, version, change) =>
            change.event?.data["from"] === "unreachable" ? undefined : workers.change(id, version, change),
        })),
    },
  },
  "a worker kept by a control plane that it does not answer": {
    within: 1_000,
    as: /after all was healed/,
    plant: { ignored: true, store: (store) => withRepository(store, "workers", () => ({ unclaim: () => Promise.resolve() })) },
  },
  "leases that are never released": {
    within: 100,
    plant: { store: (store) => withRepository(store, "leases", () => ({ release: () => Promise.resolve(false) })) },
  },
  "an end that no event tells": {
    within: 100,
    plant: {
      triggers: { untold: "before insert on main.events when new.type = 'sandbox.expired' begin select raise(ignore); end" },
    },
  },
  "an event told twice": {
    within: 100,
    plant: {
      triggers: {
        twice:
          "after insert on main.events when new.type = 'sandbox.running' begin insert into events (type, resource_id, sandbox_id, at, data) values ('sandbox.running', new.resource_id, new.sandbox_id, new.at, new.data); end",
      },
    },
  },
  "a creation that nobody goes on with": {
    within: 300,
    plant: {
      store: (store) =>
        changed(store, {
          creations: changed(store.creations, { undriven: () => Promise.resolve([]), drive: () => Promise.resolve(undefined) }),
          deadlines: changed(store.deadlines, {
            due: async (limit) => (await store.deadlines.due(limit)).filter((row) => row.state !== "creating" || row.deadlineAt === null),
          }),
        }),
    },
  },
  "time that passes for nobody": {
    within: 100,
    plant: { store: (store) => withRepository(store, "deadlines", () => ({ due: () => Promise.resolve([]) })) },
  },
  "a worker removed with what it has": {
    within: 600,
    plant: {
      triggers: {
        gone: "after update of admin_drain on main.workers when new.admin_drain = 1 and old.admin_drain = 0 begin update workers set state = 'removed' where id = new.id; end",
      },
    },
  },
};
