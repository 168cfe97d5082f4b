import { lstat } from "node:fs/promises";
import { posix, resolve } from "node:path";
import type { Sandbox } from "@caisson/sdk";
import { usageError } from "../program/cli-error.ts";
import { ALWAYS_EXCLUDED, packTree, readLocalTree, type LocalTree } from "./local-tree.ts";
import { syncBack, type SyncChange } from "./sync-back.ts";

/** A local folder whose copy a sandbox works on. */
export class SyncedFolder {
  /** Where the copy is. */
  readonly path: string;
  readonly #folder: string;
  readonly #sent: LocalTree;
  readonly #excluded: readonly string[];

  private constructor(path: string, folder: string, sent: LocalTree, excluded: readonly string[]) {
    this.path = path;
    this.#folder = folder;
    this.#sent = sent;
    this.#excluded = excluded;
  }

  /** Checks that there is such a folder. */
  static async check(folder: string): Promise<void> {
    const found = await lstat(folder).catch(() => undefined);
    if (found?.isDirectory() !== true) throw usageError(`${folder} is no folder.`, "Name the folder to work on, such as `--sync .`.");
  }

  /** Copies a folder into a sandbox, without the excluded names. */
  static async send(sandbox: Sandbox, folder: string, exclude: readonly string[], signal: AbortSignal): Promise<SyncedFolder> {
    const excluded = [...ALWAYS_EXCLUDED, ...exclude];
    const sent = await readLocalTree(resolve(folder), excluded);
    for (const path of sent.skipped) tell("-", `${path} is no file or folder; it stays here`);
    const { stdout } = await sandbox.commands.run(["pwd"], { signal, check: true });
    const path = posix.join(stdout.trim(), "work");
    await sandbox.files.extract(path, packTree(resolve(folder), sent), { signal });
    return new SyncedFolder(path, resolve(folder), sent, excluded);
  }

  /** Brings back what changed, and tells it on standard error. */
  async bringBack(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    const exclude = this.#excluded.flatMap((name) => [name, `**/${name}`]);
    const tar = await sandbox.files.archive(this.path, { exclude, signal });
    const changes = await syncBack(this.#folder, this.#sent, this.#excluded, tar);
    for (const change of changes) tell(LETTERS[change.kind], wordsOf(change));
    const count = changes.filter(({ kind }) => kind !== "skipped" && kind !== "conflict").length;
    process.stderr.write(`caisson: ${count === 1 ? "1 change was" : `${count} changes were`} brought back\n`);
  }
}

const LETTERS: Readonly<Record<SyncChange["kind"], string>> = { added: "A", modified: "M", deleted: "D", conflict: "C", skipped: "-" };

function wordsOf({ kind, path, keptAs }: SyncChange): string {
  if (kind === "conflict") {
    if (keptAs === undefined) return `${path} was deleted in the sandbox, but changed here; it stays`;
    return `${path} changed here, too; the sandbox's version is ${keptAs}`;
  }
  return kind === "skipped" ? `${path} was not brought back` : path;
}

function tell(letter: string, words: string): void {
  // A name made in a sandbox may try to speak to the terminal.
  process.stderr.write(`${letter} ${JSON.stringify(words).slice(1, -1)}\n`);
}
