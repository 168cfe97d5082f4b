import { mkdir, readdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { toCaissonError, type Clock } from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";
import pLimit from "p-limit";
import {
  appendVisible,
  OpenFolder,
  readIfThere,
  removeDurably,
  removeUnfinished,
  writeAtomic,
  writeVisible,
} from "../durable/atomic-file.ts";
import { toStorageError } from "../durable/file-error.ts";
import { recordSchema, type BoxRecord, type EndedRecord, type SandboxRecord } from "./box-record.ts";

/** How long and how many ended sandboxes are remembered. */
const REMEMBER_MS = 24 * 3_600_000;
const REMEMBER_COUNT = 10_000;

/** Files that are put into one line at once. */
const AT_ONCE = 16;

/** What this worker knows of every sandbox, one file each, in memory and on disk alike. */
export class RecordStore {
  readonly #dir: string;
  readonly #clock: Clock;
  readonly #log: ProviderContext["log"];
  readonly #records = new Map<string, SandboxRecord>();
  /** Sandboxes whose files have more than one line. */
  readonly #lengthened = new Set<string>();
  #boxCount = 0;
  /** From `load` to `close`. */
  #folder: OpenFolder | undefined;
  #closed = false;

  constructor(dir: string, clock: Clock, log: ProviderContext["log"]) {
    this.#dir = dir;
    this.#clock = clock;
    this.#log = log;
  }

  /** How many boxes there are, at no cost. */
  get boxCount(): number {
    return this.#boxCount;
  }

  /** Reads all files. A damaged one is set aside: its box is found again through its provider. */
  async load(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    this.#folder ??= await OpenFolder.open(this.#dir);
    if (this.#closed) await this.#letGo();
    await removeUnfinished(this.#dir);
    for (const name of await readdir(this.#dir)) {
      if (!name.endsWith(".json")) continue;
      const text = await readIfThere(join(this.#dir, name));
      const record = read(text);
      if (record !== undefined && name === `${record.sandbox_id}.json`) {
        this.#keep(record);
        if (text?.includes("\n") === true) this.#lengthened.add(record.sandbox_id);
        continue;
      }
      this.#log("error", "set a damaged record aside", { file: name });
      await rename(join(this.#dir, name), join(this.#dir, `${name}.damaged`));
    }
    await this.prune();
  }

  /**
   * Leaves one line in every file, as a worker of 0.1.0 reads them: it sets others aside, and forgets what its boxes were made
   * of. Then lets go of the folder; what is written later is on disk all the same.
   */
  async close(): Promise<void> {
    const limit = pLimit(AT_ONCE);
    const lengthened = this.boxes().filter(({ sandbox_id: id }) => this.#lengthened.has(id));
    await Promise.all(lengthened.map((record) => limit(() => this.#shorten(record))));
    this.#closed = true;
    await this.#letGo();
  }

  async #shorten(record: BoxRecord): Promise<void> {
    const { sandbox_id: sandbox } = record;
    try {
      await writeVisible(join(this.#dir, `${sandbox}.json`), JSON.stringify(record));
      this.#lengthened.delete(sandbox);
    } catch (error) {
      this.#log("warn", "a record keeps its two lines", { sandbox, error: toCaissonError(error).message });
    }
  }

  async #letGo(): Promise<void> {
    const folder = this.#folder;
    this.#folder = undefined;
    await folder?.[Symbol.asyncDispose]();
  }

  get(sandboxId: string): SandboxRecord | undefined {
    return this.#records.get(sandboxId);
  }

  /** The box of a sandbox, unless it has ended. */
  box(sandboxId: string): BoxRecord | undefined {
    const record = this.#records.get(sandboxId);
    return record?.kind === "box" ? record : undefined;
  }

  boxes(): readonly BoxRecord[] {
    return [...this.#records.values()].filter((record) => record.kind === "box");
  }

  /**
   * Replaces the record of a sandbox; on disk when this resolves. That a box which was started runs is added behind it, and not
   * forced to the disk: a crash of the machine ends the box too, and then the record from before its start tells as much.
   */
  async write(record: SandboxRecord): Promise<void> {
    const path = join(this.#dir, `${record.sandbox_id}.json`);
    const text = JSON.stringify(record);
    try {
      if (this.#hasStarted(record)) {
        this.#lengthened.add(record.sandbox_id);
        await appendVisible(path, `\n${text}`);
      } else {
        await writeAtomic(path, text, this.#folder);
        this.#lengthened.delete(record.sandbox_id);
      }
    } catch (error) {
      throw toStorageError(error, "writing the record of a sandbox");
    }
    this.#keep(record);
  }

  #hasStarted(record: SandboxRecord): boolean {
    const before = this.box(record.sandbox_id);
    return record.kind === "box" && record.phase === "running" && before?.phase === "starting" && before.epoch === record.epoch;
  }

  #keep(record: SandboxRecord): void {
    const was = this.#records.get(record.sandbox_id)?.kind === "box" ? 1 : 0;
    this.#boxCount += (record.kind === "box" ? 1 : 0) - was;
    this.#records.set(record.sandbox_id, record);
  }

  /** Replaces a record by the memory of it. */
  async end(sandboxId: string, epoch: number, how: EndedRecord["destroyed"]): Promise<void> {
    const at_ms = Math.floor(this.#clock.now());
    await this.write({ version: 1, kind: "ended", sandbox_id: sandboxId, epoch, destroyed: how, at_ms });
  }

  /** Forgets what ended long ago, and the oldest of too many. */
  async prune(): Promise<void> {
    const ended = [...this.#records.values()].filter((record) => record.kind === "ended").sort((a, b) => b.at_ms - a.at_ms);
    const oldest = this.#clock.now() - REMEMBER_MS;
    for (const [rank, record] of ended.entries()) {
      if (rank < REMEMBER_COUNT && record.at_ms >= oldest) continue;
      if (this.#records.get(record.sandbox_id) !== record) continue;
      this.#records.delete(record.sandbox_id);
      await removeDurably(join(this.#dir, `${record.sandbox_id}.json`));
    }
  }
}

/** The last line that is whole. */
function read(text: string | undefined): SandboxRecord | undefined {
  for (const line of (text ?? "").split("\n").toReversed()) {
    try {
      return recordSchema.parse(JSON.parse(line));
    } catch {
      // A crash cut it short: the one before it counts. The caller sets a file without any aside, and logs it.
    }
  }
  return undefined;
}
