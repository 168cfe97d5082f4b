import { SANDBOX_ID_PATTERN, toCaissonError, type HostSandbox } from "@caisson/contract";
import type { Box, Provider } from "@caisson/providers";
import pLimit from "p-limit";
import { withDeadline } from "../durable/deadline.ts";
import { askAgent } from "./ask-agent.ts";
import type { BoxLifecycle } from "./box-lifecycle.ts";
import type { BoxRecord, SandboxRecord } from "./box-record.ts";
import { describeBox, type HostParts } from "./host-parts.ts";

/** Questions to providers and agents under way at once. */
const AT_ONCE = 16;

/** How long it is waited for that boxes which nothing explains are settled, in ms; what takes longer goes on by itself. */
const SETTLE_MS = 3_000;

/** When a box is looked at whose agent's connection broke, each after the one before, in ms. */
const SUSPECT_MS = [50, 200, 1_000] as const;

/** Compares what is recorded with what is on the machine, and mends the difference. */
export class BoxSurvey {
  readonly #parts: HostParts;
  readonly #lifecycle: BoxLifecycle;
  readonly #suspects = pLimit(AT_ONCE);
  readonly #settling = pLimit(AT_ONCE);

  constructor(parts: HostParts, lifecycle: BoxLifecycle) {
    this.#parts = parts;
    this.#lifecycle = lifecycle;
  }

  /** After a restart: takes every recorded box over, adopts boxes without a record, forgets starts that came to nothing. */
  async recover(signal?: AbortSignal): Promise<void> {
    const { records, images } = this.#parts;
    for (const record of records.boxes()) if (record.image_content !== null) images.hold(record.sandbox_id, record.image_content);
    const listed = await this.#list(signal);
    const limit = pLimit(AT_ONCE);
    await Promise.all(records.boxes().map((record) => limit(() => this.#takeOver(record, listed.get(record.provider), signal))));
    await this.#settleUnknown(listed);
    // No sandboxes: trials of the providers' that a crash cut short. Only now, for no new trial has begun yet.
    const trials = [...listed.values()].flat().filter((box) => !SANDBOX_ID_PATTERN.test(box.sandboxId));
    await this.#settled(trials, (box) => this.#settling(() => this.#lifecycle.removeLeftover(box)));
  }

  /** Every box known or found, compared with the providers' own lists. Boxes being started are not here yet. */
  async inventory(signal?: AbortSignal): Promise<readonly HostSandbox[]> {
    const { records, conditions, queue } = this.#parts;
    const before = records.boxes();
    const listed = await this.#list(signal);
    for (const record of before) {
      const boxes = listed.get(record.provider);
      if (boxes === undefined || record.phase !== "running" || queue.busy(record.sandbox_id)) continue;
      await this.#note(
        record,
        boxes.find((box) => isOf(record, box)),
      );
    }
    await this.#settleUnknown(listed);
    return records
      .boxes()
      .filter((record) => record.phase !== "starting")
      .map((record) => describeBox(record, conditions.get(record.sandbox_id)));
  }

  /** Asks the provider how one box does. */
  async look(record: BoxRecord, signal?: AbortSignal): Promise<void> {
    const { handle } = record;
    const provider = this.#parts.providers.get(record.provider);
    if (provider === undefined || handle === null || record.phase !== "running") return;
    const box = await this.#ask("looking at a box", (limited) => provider.recover(handle, limited), signal);
    if (!this.#parts.queue.busy(record.sandbox_id)) await this.#note(record, box);
  }

  /** Asks every agent whether it answers. */
  async checkHealth(signal: AbortSignal): Promise<void> {
    const { records, queue } = this.#parts;
    const limit = pLimit(AT_ONCE);
    const running = records.boxes().filter((record) => record.phase === "running" && !queue.busy(record.sandbox_id));
    await Promise.all(running.map((record) => limit(() => this.#check(record, signal))));
  }

  /** The connection to an agent broke: whether its box has ended is seen now, not at the next check. Never rejects. */
  async suspect(sandboxId: string, signal: AbortSignal): Promise<void> {
    const { records, queue, clock } = this.#parts;
    for (const rest of SUSPECT_MS) {
      // A box ends a moment after its agent.
      await clock.sleep(rest, signal).catch(() => undefined);
      const record = records.box(sandboxId);
      if (signal.aborted || record?.phase !== "running" || queue.busy(sandboxId)) return;
      await this.#suspects(() => this.look(record, signal)).catch(() => undefined); // what it does not tell now, the next check finds out
    }
  }

  async #check(record: BoxRecord, signal: AbortSignal): Promise<void> {
    const { routes, conditions, clock, deadlines, log } = this.#parts;
    const route = routes.get(record.sandbox_id);
    if (signal.aborted || route === undefined) return;
    try {
      if (conditions.get(record.sandbox_id)?.state === "paused") await this.look(record, signal);
      if (conditions.get(record.sandbox_id)?.state === "paused") return;
      await askAgent(route, "Stats", clock, deadlines.health, signal);
      this.#set(record, { state: "running" });
    } catch (error) {
      if (signal.aborted) return;
      const reason = toCaissonError(error).message;
      await this.look(record, signal).catch((failure: unknown) =>
        log("warn", "a provider does not tell how a box does", { sandbox: record.sandbox_id, error: toCaissonError(failure).message }),
      );
      if (conditions.get(record.sandbox_id)?.state === "running") {
        log("warn", "an agent does not answer", { sandbox: record.sandbox_id, error: reason });
        this.#set(record, { state: "unhealthy", reason: `The guest agent does not answer: ${reason}` });
      }
    }
  }

  async #takeOver(record: BoxRecord, listed: readonly Box[] | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { providers, records, log } = this.#parts;
    const provider = providers.get(record.provider);
    if (provider === undefined) {
      this.#set(record, { state: "unhealthy", reason: `The provider ${record.provider} is not enabled here.` });
      return;
    }
    const handle = record.handle ?? listed?.find((box) => isOf(record, box))?.handle;
    try {
      const box = handle && (await this.#ask("taking a box over", (limited) => provider.recover(handle, limited), signal));
      if (box !== undefined) await this.#adopt({ ...record, image_content: record.image_content }, box, provider);
      else if (record.phase !== "starting") await this.#stopped(record, record.reason ?? "The box was gone when the worker came back.");
      else if (listed !== undefined) {
        await records.end(record.sandbox_id, record.epoch, false);
        await this.#parts.images.release(record.sandbox_id);
      }
    } catch (error) {
      const reason = toCaissonError(error).message;
      log("error", "a box could not be taken over", { sandbox: record.sandbox_id, error: reason });
      if (record.handle !== null) await this.#route(record.sandbox_id, { ...record, handle: record.handle }, provider);
      this.#set(record, { state: "unhealthy", reason: `The box could not be taken over: ${reason}` });
    }
  }

  /** Boxes that the records do not explain: those of ended sandboxes and old epochs are removed, others adopted. */
  #settleUnknown(listed: ReadonlyMap<string, readonly Box[]>): Promise<void> {
    const { records, queue } = this.#parts;
    const isKnown = ({ sandboxId, epoch }: Box): boolean => records.box(sandboxId)?.epoch === epoch;
    const unknown = [...listed.values()].flat().filter((box) => SANDBOX_ID_PATTERN.test(box.sandboxId) && !isKnown(box));
    return this.#settled(
      unknown.filter((box) => !queue.busy(box.sandboxId)),
      (box) => {
        const before = records.get(box.sandboxId);
        // In line before it waits for its turn, so that the next inventory sees that it is seen to.
        return queue.run(box.sandboxId, () => this.#settling(() => this.#settleOne(box, before)));
      },
    );
  }

  async #settleOne(box: Box, before: SandboxRecord | undefined): Promise<void> {
    const { providers, records, log } = this.#parts;
    // The list may be older than what happened since; nobody else changes this sandbox now.
    if (records.get(box.sandboxId) !== before) return;
    const provider = providers.get(box.handle.provider);
    if (provider === undefined) return;
    if (before !== undefined && before.epoch >= box.epoch) return await this.#lifecycle.removeLeftover(box);
    log("warn", "adopted a box without a record", { sandbox: box.sandboxId, epoch: box.epoch });
    await this.#adopt(foundRecord(box), box, provider);
  }

  /** Waits until boxes are settled, but not for long: one that cannot be removed holds up nobody who asks for the others. */
  async #settled(boxes: readonly Box[], settle: (box: Box) => Promise<void>): Promise<void> {
    if (boxes.length === 0) return;
    const { clock } = this.#parts;
    const all = Promise.all(boxes.map((box) => settle(box).catch((error: unknown) => this.#unsettled(box, error))));
    const enough = Promise.withResolvers<void>();
    const timer = clock.schedule(SETTLE_MS, enough.resolve);
    await Promise.race([all, enough.promise]);
    timer.cancel();
  }

  #unsettled(box: Box, error: unknown): void {
    const { message } = toCaissonError(error);
    this.#parts.log("error", "a box that was found could not be settled", { sandbox: box.sandboxId, error: message });
  }

  async #adopt(record: BoxRecord, box: Box, provider: Provider): Promise<void> {
    const { records } = this.#parts;
    const phase = box.status === "stopped" ? "stopped" : "running";
    const { handle, runtime } = box;
    const reason = phase === "stopped" ? (box.reason ?? record.reason ?? "Its process 1 has ended.") : null;
    const next: BoxRecord & { handle: Box["handle"] } = { ...record, phase, handle, runtime, reason };
    if (JSON.stringify(next) !== JSON.stringify(records.get(record.sandbox_id))) await records.write(next);
    if (phase === "stopped") return;
    await this.#route(record.sandbox_id, next, provider);
    this.#set(next, { state: box.status === "paused" ? "paused" : "running" });
  }

  async #route(sandboxId: string, record: { readonly handle: Box["handle"] }, provider: Provider): Promise<void> {
    await this.#parts.routes.add(sandboxId, (ending) => provider.connect(record.handle, ending));
  }

  /** Takes note of how a running box does now; undefined: it is gone. */
  async #note(record: BoxRecord, box: Box | undefined): Promise<void> {
    if (box === undefined) return this.#stopped(record, "The box is gone.");
    if (box.status === "stopped") return this.#stopped(record, box.reason ?? "Its process 1 has ended.");
    const before = this.#parts.conditions.get(record.sandbox_id);
    if (box.status === "paused") this.#set(record, { state: "paused" });
    else if (before === undefined || before.state === "paused") this.#set(record, { state: "running" });
  }

  async #stopped(record: BoxRecord, reason: string): Promise<void> {
    const { records, routes, conditions, queue } = this.#parts;
    await queue.run(record.sandbox_id, async () => {
      if (records.get(record.sandbox_id) !== record || record.phase === "stopped") return;
      await routes.remove(record.sandbox_id);
      conditions.delete(record.sandbox_id);
      await records.write({ ...record, phase: "stopped", reason });
      this.#parts.changed({ sandboxId: record.sandbox_id, epoch: record.epoch });
    });
  }

  #set(record: BoxRecord, condition: Parameters<HostParts["conditions"]["set"]>[1]): void {
    const { records, conditions, changed } = this.#parts;
    const { sandbox_id: sandboxId, epoch } = record;
    const now = records.box(sandboxId);
    if (now?.epoch !== epoch || now.phase === "stopped") return;
    const before = conditions.get(sandboxId);
    conditions.set(sandboxId, condition);
    if (before !== undefined && before.state !== condition.state) changed({ sandboxId, epoch });
  }

  /** What each provider has; one that does not answer is left out, so that nothing is concluded from its silence. */
  async #list(signal: AbortSignal | undefined): Promise<ReadonlyMap<string, readonly Box[]>> {
    const { clock, deadlines, log, providers } = this.#parts;
    const listed = new Map<string, readonly Box[]>();
    await Promise.all(
      [...providers.values()].map(async (provider) => {
        const doing = `listing the boxes of ${provider.name}`;
        try {
          const boxes = withDeadline({ clock, ms: deadlines.list, doing, signal }, (limited) => provider.list(limited));
          listed.set(provider.name, await boxes);
        } catch (error) {
          if (signal?.aborted) throw error;
          log("error", "a provider does not list its boxes", {
            provider: provider.name,
            error: toCaissonError(error).message,
          });
        }
      }),
    );
    return listed;
  }

  #ask<T>(doing: string, question: (signal: AbortSignal) => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    return withDeadline({ clock: this.#parts.clock, ms: this.#parts.deadlines.ask, doing, signal }, question);
  }
}

function isOf(record: BoxRecord, box: Box): boolean {
  return box.sandboxId === record.sandbox_id && box.epoch === record.epoch;
}

function foundRecord(box: Box): BoxRecord {
  return {
    version: 1,
    kind: "box",
    sandbox_id: box.sandboxId,
    epoch: box.epoch,
    phase: "running",
    provider: box.handle.provider,
    runtime: box.runtime,
    image_digest: null,
    image_content: null,
    spec: null,
    handle: box.handle,
    reason: null,
  };
}
