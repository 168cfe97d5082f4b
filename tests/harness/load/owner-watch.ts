import { readdirSync, readFileSync } from "node:fs";

const EVERY_MS = 200;

/** Looks all the time who runs what: a sandbox that two workers run at once is noted. */
export class OwnerWatch {
  readonly violations: string[] = [];
  readonly #roots: ReadonlyMap<string, string>;
  #timer: NodeJS.Timeout;
  looks = 0;

  /** Data folders of the workers, by worker. */
  constructor(roots: ReadonlyMap<string, string>) {
    this.#roots = roots;
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  /** Workers that run a box of each sandbox, by the supervisors that this machine has now. */
  owners(): Map<string, string[]> {
    const found = new Map<string, string[]>();
    for (const { folder } of supervisors()) {
      const worker = [...this.#roots].find(([, root]) => folder.startsWith(`${root}/`))?.[0];
      const id = folder.slice(folder.lastIndexOf("/") + 1);
      if (worker !== undefined) found.set(id, [...(found.get(id) ?? []), worker]);
    }
    return found;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    this.looks += 1;
    for (const [id, workers] of this.owners()) {
      const text = `${id} is run by ${workers.join(" and ")}`;
      if (new Set(workers).size > 1 && !this.violations.includes(text)) this.violations.push(text);
    }
  }
}

/** The folders of the boxes that run on this machine, by their supervisors' command lines. */
function supervisors(): { readonly folder: string }[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid)) return [];
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      const folder = words[1] === "supervise" ? words[words.indexOf("--dir") + 1] : undefined;
      return folder === undefined ? [] : [{ folder }];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}
