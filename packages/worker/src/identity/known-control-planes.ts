import { join } from "node:path";
import type { Clock, Random } from "@caisson/contract";
import { LINK_NONCE_MS, SigningKeySet, verifyControlToken, type ControlToken, type PublicKeySet } from "@caisson/identity";
import { z } from "zod";
import { readIfThere, writeAtomic } from "../durable/atomic-file.ts";

/** Most control planes that may be on their way in at once. */
const MAX_NONCES = 1_024;

const fileSchema = z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(16) });

export interface KnownControlPlanesOptions {
  /** Folder of this worker's identity; it exists. */
  readonly dir: string;
  readonly workerId: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** By what a worker knows a control plane that dials it: the public keys of its installation, as it last learnt them. */
export class KnownControlPlanes {
  readonly #options: KnownControlPlanesOptions;
  readonly #file: string;
  /** Nonces given out and not come back, with the monotonic time of each. */
  readonly #nonces = new Map<string, number>();
  #text = "";
  #keys = new SigningKeySet({ keys: [] });

  private constructor(options: KnownControlPlanesOptions) {
    this.#options = options;
    this.#file = join(options.dir, "control-keys.json");
  }

  /** With the keys that were learnt before; a file that is damaged counts as none. */
  static async open(options: KnownControlPlanesOptions): Promise<KnownControlPlanes> {
    const known = new KnownControlPlanes(options);
    const text = await readIfThere(known.#file);
    if (text !== undefined) known.#take(text);
    return known;
  }

  /** The keys as they were learnt last; a new set when they change. */
  get keys(): SigningKeySet {
    return this.#keys;
  }

  /** Whether no keys were learnt yet: then no control plane can dial. */
  get empty(): boolean {
    return this.#keys.empty;
  }

  /** Takes these keys instead of those before, and keeps them. */
  async learn(set: PublicKeySet): Promise<void> {
    const text = JSON.stringify({ keys: set.keys });
    if (text === this.#text || set.keys.length === 0) return;
    await writeAtomic(this.#file, text);
    this.#take(text);
  }

  /** A nonce that can be used once within the next minute. */
  challenge(): string {
    const now = this.#options.clock.monotonic();
    for (const [nonce, made] of this.#nonces) {
      if (this.#nonces.size < MAX_NONCES && now - made <= LINK_NONCE_MS) break;
      this.#nonces.delete(nonce);
    }
    const nonce = Buffer.from(this.#options.random.bytes(24)).toString("base64url");
    this.#nonces.set(nonce, now);
    return nonce;
  }

  /** Who dialled, if it is a control plane of ours. `issuer` is the installation this worker registered with. */
  admit(token: string, issuer: string | undefined): Promise<ControlToken> {
    return verifyControlToken(token, this.#keys, {
      workerId: this.#options.workerId,
      issuer,
      takeNonce: (nonce) => {
        const made = this.#nonces.get(nonce);
        this.#nonces.delete(nonce);
        return made !== undefined && this.#options.clock.monotonic() - made <= LINK_NONCE_MS;
      },
    });
  }

  #take(text: string): void {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return; // Keys come with every heartbeat reply; a damaged file only means to wait for the next.
    }
    const found = fileSchema.safeParse(value);
    if (!found.success) return;
    this.#text = text;
    this.#keys = new SigningKeySet(found.data);
  }
}
