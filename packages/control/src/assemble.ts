import { VERSION, isTerminal, type Random } from "@caisson/contract";
import { Admission } from "./admission.ts";
import { Cleaner } from "./cleaner.ts";
import { ExpectedWorkers } from "./expected-workers.ts";
import { GuestOperations } from "./guest-operations.ts";
import { ConnectedHosts } from "./hosts.ts";
import { OperationMeter } from "./operation-meter.ts";
import type { OrchestratorOptions } from "./orchestrator.ts";
import { Placer } from "./placement/placer.ts";
import { PortOperations } from "./port-operations.ts";
import { ProcessRecorder } from "./process-recorder.ts";
import { Purger } from "./purger.ts";
import { Reaper } from "./reaper.ts";
import { SandboxAccess } from "./sandbox-access.ts";
import { SandboxLifecycle } from "./sandbox-lifecycle.ts";
import { Starter } from "./starter.ts";
import { StateWriter } from "./state-writer.ts";
import { sendsNothing, WebhookSender } from "./webhooks/webhook-sender.ts";
import { Webhooks } from "./webhooks/webhooks.ts";
import { DEFAULT_FLEET } from "./workers/fleet-settings.ts";
import { FleetWorkers } from "./workers/fleet-workers.ts";
import { Fleet } from "./workers/fleet.ts";
import { WorkerDirectory } from "./workers/worker-directory.ts";
import type { WorkerOperations } from "./workers/worker-operations.ts";

/** Id of a control plane that is the only one on its database. */
const ONLY = "only";

/** What an orchestrator is made of. */
export interface Parts {
  readonly meter: OperationMeter;
  readonly lifecycle: SandboxLifecycle;
  readonly guests: GuestOperations;
  readonly ports: PortOperations;
  readonly webhooks: Webhooks;
  readonly sender: WebhookSender;
  readonly reaper: Reaper;
  readonly purger: Purger;
  readonly recorder: ProcessRecorder;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly fleet: Fleet;
  readonly workers: WorkerOperations;
}

/** Puts an orchestrator together. `stop` ends its loops, `abandon` its calls to workers. */
export function assemble(
  options: OrchestratorOptions & { readonly random: Random },
  signals: { readonly stop: AbortSignal; readonly abandon: AbortSignal },
): Parts {
  const { clock, store, logger, random, defaults, guestOf } = options;
  const { hosts = new ConnectedHosts(), fleet: settings = DEFAULT_FLEET, keys = () => Promise.resolve({ keys: [] }) } = options;
  const self = options.controlPlane ?? { id: ONLY, url: "", build: VERSION };
  const states = new StateWriter({
    store,
    logger,
    isLate: (id) => directory.isLate(id),
    ...(options.transition === undefined ? {} : { transition: options.transition }),
    carryOut: (command, sandbox) => {
      if (command !== "destroy") return;
      starter.cancel(sandbox.id);
      void cleaner.clean(sandbox);
    },
  });
  const signal = signals.abandon;
  const directory = new WorkerDirectory({ clock, store, hosts, lateAfterMs: settings.lateAfterMs });
  const expected = new ExpectedWorkers({ clock, hosts });
  const placer = new Placer({ random, directory, expected, defaults, settings: settings.placement });
  const cleaner = new Cleaner({ clock, store, hosts, isGone: (id) => directory.isGone(id), logger, signal });
  const starter = new Starter({ clock, store, hosts, states, cleaner, placer, directory, self: self.id, logger, signal });
  const meter = new OperationMeter({ clock, logger, signal: signals.stop });
  const access: SandboxAccess = new SandboxAccess({
    store,
    hosts,
    expected,
    states,
    logger,
    guestOf,
    recheck: (seen) => fleet.recheck(seen),
  });
  const recorder = new ProcessRecorder({
    clock,
    log: store.execLog,
    logger,
    guestOf: async (id) => {
      const seen = await store.sandboxes.get(id);
      return seen === undefined || isTerminal(seen.state) ? undefined : access.guestOf(seen);
    },
  });
  const ports = new PortOperations({ store, meter, access });
  const fleet: Fleet = new Fleet({
    clock,
    random,
    store,
    hosts,
    directory,
    states,
    starter,
    cleaner,
    recorder,
    settings,
    self,
    keys,
    logger,
    ...(options.identities === undefined ? {} : { identities: options.identities }),
    changed: (sandbox, { key_name, processes }) => {
      const guest = access.guestOf(sandbox);
      return processes === undefined ? recorder.catchUp(sandbox.id, guest) : recorder.adopt(sandbox.id, guest, key_name, processes);
    },
    portAccess: (id, port) => ports.access(id, port),
    signal: signals.stop,
  });
  const reaper = new Reaper({ clock, store, logger, states });
  const purger = new Purger({ clock, store, logger, ...(options.retention === undefined ? {} : { retention: options.retention }) });
  const admission = new Admission({ clock, random, store, directory, placer, defaults, self: self.id });
  const { send, retriesMs } = options.webhooks ?? { send: sendsNothing, retriesMs: [] };
  const sender = new WebhookSender({ clock, random, store, logger, send, retriesMs });
  return {
    meter,
    lifecycle: new SandboxLifecycle({
      clock,
      store,
      defaults,
      meter,
      access,
      admission,
      starter,
      cleaner,
      states,
      reaper,
      recorder,
      directory,
    }),
    guests: new GuestOperations({ clock, store, logger, meter, access, recorder, guestOf }),
    ports,
    webhooks: new Webhooks({ clock, random, store, sender }),
    sender,
    reaper,
    purger,
    recorder,
    starter,
    cleaner,
    fleet,
    workers: new FleetWorkers({
      clock,
      store,
      hosts,
      states,
      cleaner,
      directory,
      meter,
      logger,
      sessions: fleet.sessions,
      heartbeats: fleet.heartbeats,
      ...(options.identities === undefined ? {} : { identities: options.identities }),
    }),
  };
}
