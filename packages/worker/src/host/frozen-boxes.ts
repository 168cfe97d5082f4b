import { join } from "node:path";
import { SANDBOX_ID_PATTERN, toCaissonError, type PauseOutcome, type SandboxRef } from "@caisson/contract";
import pLimit from "p-limit";
import { z } from "zod";
import { readIfThere, removeDurably, writeAtomic } from "../durable/atomic-file.ts";
import { withDeadline } from "../durable/deadline.ts";
import type { BoxRecord } from "./box-record.ts";
import type { HostParts } from "./host-parts.ts";

/** Boxes frozen or thawed at once. */
const AT_ONCE = 16;

const fileSchema = z.strictObject({
  version: z.literal(1),
  /** False: control is back, and these could not be thawed yet. */
  paused: z.boolean(),
  boxes: z.array(z.strictObject({ sandbox_id: z.string().regex(SANDBOX_ID_PATTERN), epoch: z.int().min(0) })),
});

type Outcome = { readonly [K in keyof PauseOutcome]: PauseOutcome[K][number][] };

/**
 * Freezes every box that runs, and thaws exactly those. Which ones is on disk before the first of them is frozen, so that a
 * crash in between leaves none frozen that nobody would thaw.
 */
export class FrozenBoxes {
  readonly #parts: HostParts;
  readonly #file: string;
  #paused = false;
  #boxes: readonly SandboxRef[] = [];

  constructor(parts: HostParts, dataDir: string) {
    this.#parts = parts;
    this.#file = join(dataDir, "worker", "frozen.json");
  }

  /** Whether everything is to be frozen now; also after a restart. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Reads what an earlier run left. A damaged file counts as none: what is frozen then is thawed by `resume` of all that can be. */
  async load(): Promise<void> {
    const text = await readIfThere(this.#file);
    if (text === undefined) return;
    try {
      const { paused, boxes } = fileSchema.parse(JSON.parse(text));
      this.#paused = paused;
      this.#boxes = boxes.map(({ sandbox_id, epoch }) => ({ sandboxId: sandbox_id, epoch }));
    } catch {
      this.#parts.log("error", "the list of frozen sandboxes is damaged", { file: this.#file });
      this.#paused = true;
      this.#boxes = this.#parts.records.boxes().map(refOf);
    }
  }

  async pause(signal?: AbortSignal): Promise<PauseOutcome> {
    const { records, providers, conditions, queue } = this.#parts;
    const outcome: Outcome = { done: [], refused: [] };
    const ours = new Set(this.#boxes.map(keyOf));
    const wanted: BoxRecord[] = [];
    for (const record of records.boxes()) {
      if (record.phase === "stopped") continue;
      const frozenByOthers = conditions.get(record.sandbox_id)?.state === "paused" && !ours.has(keyOf(refOf(record)));
      if (frozenByOthers) continue;
      if (providers.get(record.provider)?.freeze !== undefined) wanted.push(record);
      else outcome.refused.push({ ...refOf(record), code: "unsupported", reason: `The provider ${record.provider} cannot freeze.` });
    }
    await this.#write(true, wanted.map(refOf));
    await this.#each(wanted.map(refOf), outcome, (ref) =>
      queue.run(ref.sandboxId, async () => {
        const { record, provider } = this.#find(ref);
        if (record === undefined) return;
        await this.#ask("freezing a box", (limited) => provider.freeze?.(record.handle, limited), signal);
        conditions.set(ref.sandboxId, { state: "paused" });
      }),
    );
    return outcome;
  }

  async resume(signal?: AbortSignal): Promise<PauseOutcome> {
    const { conditions, queue } = this.#parts;
    const outcome: Outcome = { done: [], refused: [] };
    if (!this.#paused && this.#boxes.length === 0) return outcome;
    await this.#write(false, this.#boxes);
    await this.#each(this.#boxes, outcome, (ref) =>
      queue.run(ref.sandboxId, async () => {
        const { record, provider } = this.#find(ref);
        if (record === undefined) return;
        await this.#ask("thawing a box", (limited) => provider.thaw?.(record.handle, limited), signal);
        conditions.set(ref.sandboxId, { state: "running" });
      }),
    );
    const left = outcome.refused.map(({ sandboxId, epoch }) => ({ sandboxId, epoch }));
    if (left.length > 0) await this.#write(false, left);
    else {
      await removeDurably(this.#file);
      this.#boxes = [];
    }
    return outcome;
  }

  /** The box that is meant, if it still runs, and who can freeze it. */
  #find(ref: SandboxRef): { record: (BoxRecord & { handle: NonNullable<BoxRecord["handle"]> }) | undefined; provider: Freezer } {
    const record = this.#parts.records.box(ref.sandboxId);
    const provider = record && this.#parts.providers.get(record.provider);
    if (record?.epoch !== ref.epoch || record.phase !== "running" || record.handle === null || provider === undefined)
      return { record: undefined, provider: {} };
    return { record: { ...record, handle: record.handle }, provider };
  }

  async #each(refs: readonly SandboxRef[], outcome: Outcome, change: (ref: SandboxRef) => Promise<void>): Promise<void> {
    const limit = pLimit(AT_ONCE);
    const one = async (ref: SandboxRef): Promise<void> => {
      try {
        await change(ref);
        outcome.done.push(ref);
      } catch (thrown) {
        const { code, message } = toCaissonError(thrown);
        this.#parts.log("error", "a box was not frozen or thawed", { sandbox: ref.sandboxId, error: message });
        outcome.refused.push({ ...ref, code, reason: message });
      }
    };
    await Promise.all(refs.map((ref) => limit(() => one(ref))));
  }

  async #write(paused: boolean, boxes: readonly SandboxRef[]): Promise<void> {
    const file: z.output<typeof fileSchema> = {
      version: 1,
      paused,
      boxes: boxes.map(({ sandboxId, epoch }) => ({ sandbox_id: sandboxId, epoch })),
    };
    await writeAtomic(this.#file, JSON.stringify(file));
    this.#paused = paused;
    this.#boxes = boxes;
  }

  #ask(doing: string, question: (signal: AbortSignal) => Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { clock, deadlines } = this.#parts;
    return withDeadline({ clock, ms: deadlines.ask, doing, signal }, async (limited) => question(limited));
  }
}

type Freezer = Pick<NonNullable<ReturnType<HostParts["providers"]["get"]>>, "freeze" | "thaw">;

function refOf(record: BoxRecord): SandboxRef {
  return { sandboxId: record.sandbox_id, epoch: record.epoch };
}

function keyOf({ sandboxId, epoch }: SandboxRef): string {
  return `${sandboxId} ${epoch}`;
}
