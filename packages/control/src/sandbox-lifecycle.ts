import {
  TRANSITIONAL_DEADLINES,
  isTerminal,
  type Clock,
  type CreateSandbox,
  type ListSandboxesQuery,
  type Sandbox,
  type SandboxPage,
} from "@caisson/contract";
import type { Store } from "@caisson/store";
import type { Admission } from "./admission.ts";
import { DESTROY_DEADLINE_MS, type Cleaner } from "./cleaner.ts";
import type { ControlDefaults } from "./control-defaults.ts";
import { listFilter } from "./list-filter.ts";
import { signalOf, type OperationMeter } from "./operation-meter.ts";
import type { OperationOptions, SandboxOwner } from "./operations.ts";
import type { ProcessRecorder } from "./process-recorder.ts";
import type { Reaper } from "./reaper.ts";
import { checkTtl } from "./request-limits.ts";
import type { SandboxAccess } from "./sandbox-access.ts";
import { created, sandboxEnded } from "./sandbox-errors.ts";
import { toSandbox } from "./sandbox-view.ts";
import type { Starter } from "./starter.ts";
import type { StateWriter } from "./state-writer.ts";
import { withDeadline } from "./with-deadline.ts";
import type { WorkerDirectory } from "./workers/worker-directory.ts";

/** What a waiting caller gets beyond the deadline of what it waits for, in ms. */
const GRACE_MS = 5_000;

/** What the life of sandboxes needs. */
export interface SandboxLifecycleOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly defaults: ControlDefaults;
  readonly meter: OperationMeter;
  readonly access: SandboxAccess;
  readonly admission: Admission;
  readonly starter: Starter;
  readonly cleaner: Cleaner;
  readonly states: StateWriter;
  readonly reaper: Reaper;
  readonly recorder: ProcessRecorder;
  readonly directory: WorkerDirectory;
}

/** How sandboxes come, are shown, last and go: `Operations` documents each. */
export class SandboxLifecycle {
  readonly #options: SandboxLifecycleOptions;

  constructor(options: SandboxLifecycleOptions) {
    this.#options = options;
  }

  create(request: CreateSandbox, options: OperationOptions & { readonly idempotencyKey?: string }): Promise<Sandbox> {
    const { access, admission, clock, meter, reaper, starter } = this.#options;
    return meter.measured("create", undefined, options, async (line) => {
      const { sandbox: reserved, fresh } = await admission.admit(request, options.idempotencyKey);
      line["sandbox_id"] = reserved.id;
      if (reserved.state === "creating") {
        reaper.within(Math.min(reserved.expiresAt, reserved.deadlineAt ?? Infinity) - clock.now());
        // The caller may leave; the creation goes on.
        const driven = fresh ? starter.begin(reserved) : starter.drive(reserved).then(() => undefined);
        const ms = TRANSITIONAL_DEADLINES.creating + GRACE_MS;
        const settled = await withDeadline({ clock, ms, what: "the creation", ...signalOf(options) }, () => driven);
        if (settled !== undefined) return toSandbox(created(settled));
      }
      return toSandbox(created(await access.record(reserved.id)));
    });
  }

  get(id: string, options: OperationOptions): Promise<Sandbox> {
    const { access, meter } = this.#options;
    return meter.measured("get", id, options, async () => toSandbox(await access.record(id)));
  }

  owner(id: string, options: OperationOptions): Promise<SandboxOwner> {
    const { access, clock, directory, meter } = this.#options;
    return meter.measured("owner", id, options, async () => {
      const seen = await access.unended(id);
      const worker = await directory.find(seen.workerId);
      return {
        workerId: seen.workerId,
        epoch: seen.epoch,
        expiresAt: seen.expiresAt,
        now: clock.now(),
        publicUrl: worker?.publicUrl ?? null,
        previewDomain: worker?.previewDomain ?? null,
        previewUrl: worker?.previewUrl ?? null,
      };
    });
  }

  list(query: ListSandboxesQuery, options: OperationOptions): Promise<SandboxPage> {
    const { meter, store } = this.#options;
    return meter.measured("list", undefined, options, async () => {
      const page = await store.sandboxes.list(listFilter(query));
      return { items: page.items.map(toSandbox), next_cursor: page.nextCursor };
    });
  }

  extend(id: string, ttlMs: number, options: OperationOptions): Promise<Sandbox> {
    const { access, defaults, meter, reaper, store } = this.#options;
    return meter.measured("extend", id, options, async () => {
      checkTtl(ttlMs, defaults);
      for (;;) {
        const seen = await access.record(id);
        if (isTerminal(seen.state)) throw sandboxEnded(seen);
        const extended = await store.sandboxes.extend(id, seen.version, ttlMs);
        if (extended === undefined) continue; // somebody else made progress
        reaper.within(ttlMs);
        return toSandbox(extended);
      }
    });
  }

  destroy(id: string, options: OperationOptions): Promise<Sandbox> {
    const { cleaner, clock, meter, recorder, states, store } = this.#options;
    return meter.measured("destroy", id, options, async () => {
      // What waits for its transaction comes before the end of its sandbox; where it cannot, it comes after.
      await recorder.flush().catch(() => undefined);
      const { sandbox } = await states.advance(id, "destroy_requested");
      // Joins the clean-up that the transition began; a repeated destroy finds what an earlier one could not finish.
      if ((await store.leases.get(id)) !== undefined) {
        const deadline = { clock, ms: DESTROY_DEADLINE_MS + GRACE_MS, what: "the end of the box", ...signalOf(options) };
        await withDeadline(deadline, () => cleaner.clean(sandbox));
      }
      return toSandbox(sandbox);
    });
  }
}
