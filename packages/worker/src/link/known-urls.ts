import { join } from "node:path";
import type { ProviderContext } from "@caisson/providers";
import { z } from "zod";
import { readIfThere, writeAtomic } from "../durable/atomic-file.ts";

const MAX_URLS = 64;
const fileSchema = z.object({ version: z.literal(1), urls: z.array(z.string().max(512)).max(MAX_URLS) });

/** Addresses of control planes that were learnt, kept so that a worker that comes back needs only one of them alive. */
export class KnownUrls {
  readonly #file: string;
  readonly #log: ProviderContext["log"];
  #text = "";
  /** Writes under way, one after the other: the last list is the one that stays. */
  #writing: Promise<void> = Promise.resolve();

  constructor(dataDir: string, log: ProviderContext["log"]) {
    this.#file = join(dataDir, "worker", "control-planes.json");
    this.#log = log;
  }

  /** What was kept; a damaged file counts as nothing, since the configuration names one to begin with. */
  async load(): Promise<readonly string[]> {
    const text = await readIfThere(this.#file);
    if (text === undefined) return [];
    try {
      const { urls } = fileSchema.parse(JSON.parse(text));
      this.#text = text;
      return urls.filter(isControlPlaneUrl);
    } catch {
      this.#log("warn", "the list of control planes is damaged and begins anew", { file: this.#file });
      return [];
    }
  }

  /** Keeps this list instead of the last one. */
  keep(urls: readonly string[]): Promise<void> {
    const text = JSON.stringify({ version: 1, urls: [...urls].sort().slice(0, MAX_URLS) });
    if (text === this.#text) return this.#writing;
    this.#text = text;
    const written = this.#writing.then(() => writeAtomic(this.#file, text));
    this.#writing = written.catch(() => undefined); // whoever asked is told
    return written;
  }

  /** Resolves when nothing is being written any more. */
  idle(): Promise<void> {
    return this.#writing;
  }
}

/** Whether an address is one that a worker dials. */
export function isControlPlaneUrl(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, username, password, hostname } = new URL(url);
  return (protocol === "http:" || protocol === "https:") && username === "" && password === "" && hostname !== "";
}
