import type { Timer } from "@caisson/contract";
import { Changes } from "./changes.ts";
import { everything, type MockChange } from "./mock-files.ts";

const KEPT = 16_384;

/** One watch of a mock box: its last changes by number. */
export class MockWatch {
  /** The protocol's change maps that are kept, oldest first. */
  readonly changes: Record<string, unknown>[] = [];
  readonly news: Changes = new Changes();
  /** Number of the last change. */
  newest = 0;
  /** Why it was closed. */
  closed: string | undefined;
  /** The last change that a reader had. */
  delivered = 0;
  readonly #asked: string;
  readonly #real: string;
  readonly #recursive: boolean;
  readonly #rest: () => Timer;
  #readers = 0;
  #expiry: Timer | undefined;

  /** `real` is where `asked` leads; changes are told with the path that was asked for. `rest` closes it after a while. */
  constructor(options: { readonly asked: string; readonly real: string; readonly recursive: boolean; readonly rest: () => Timer }) {
    this.#asked = options.asked.replace(/\/+$/, "");
    this.#real = options.real === "/" ? "" : options.real;
    this.#recursive = options.recursive;
    this.#rest = options.rest;
    this.#expiry = options.rest();
  }

  /** A reader comes. */
  enter(): void {
    this.#readers++;
    this.#expiry?.cancel();
  }

  /** A reader goes; without any it is closed after a while. */
  leave(): void {
    if (--this.#readers === 0 && this.closed === undefined) this.#expiry = this.#rest();
  }

  close(why: string): void {
    this.closed = why;
    this.#expiry?.cancel();
    this.news.notify();
  }

  /** Number of the first change that is kept. */
  get oldest(): number {
    return this.newest - this.changes.length + 1;
  }

  /** Takes something that happened anywhere in the box. */
  take({ kind, path, node, from }: MockChange): void {
    const directory = node.type === "directory";
    const here = this.#covers(path);
    const before = from !== undefined && this.#covers(from) ? this.#told(from) : undefined;
    if (kind !== "moved") return here ? this.#add({ kind, path: this.#told(path), directory }) : undefined;
    if (before !== undefined)
      return this.#add(here ? { kind, path: this.#told(path), directory, from: before } : { kind: "deleted", path: before, directory });
    if (!here) return;
    for (const [below, child] of everything(path, node))
      if (this.#covers(below)) this.#add({ kind: "created", path: this.#told(below), directory: child.type === "directory" });
  }

  #covers(path: string): boolean {
    if (path === this.#real) return true;
    if (!path.startsWith(`${this.#real}/`)) return false;
    return this.#recursive || !path.slice(this.#real.length + 1).includes("/");
  }

  #told(path: string): string {
    return `${this.#asked}${path.slice(this.#real.length)}` || "/";
  }

  #add(change: { readonly kind: string; readonly path: string; readonly directory: boolean; readonly from?: string }): void {
    const last = this.changes.at(-1);
    const again = change.kind === "modified" && last?.["kind"] === "modified" && last["path"] === change.path;
    if (again && this.newest > this.delivered) return;
    this.newest++;
    this.changes.push({ seq: this.newest, ...change });
    if (this.changes.length > KEPT) this.changes.shift();
    this.news.notify();
  }
}
