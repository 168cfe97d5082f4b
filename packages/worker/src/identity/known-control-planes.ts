import { join } from "node:path";
import type { Clock, Random } from "@caisson/contract";
import {
  checkNonce,
  LINK_NONCE_MS,
  newNonce,
  SigningKeySet,
  verifyControlToken,
  type ControlToken,
  type PublicKeySet,
} from "@caisson/identity";
import { z } from "zod";
import { readIfThere, writeAtomic } from "../durable/atomic-file.ts";

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
  /** Seals nonces: anybody may ask for one, so none is remembered before a control plane has come with it. */
  readonly #seal: Uint8Array;
  /** Nonces that a control plane came with, with the monotonic time of each. */
  readonly #used = new Map<string, number>();
  #text = "";
  #keys = new SigningKeySet({ keys: [] });

  private constructor(options: KnownControlPlanesOptions) {
    this.#options = options;
    this.#seal = options.random.bytes(32);
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
    return newNonce(this.#seal, this.#options.clock.monotonic(), this.#options.random);
  }

  /** Who dialled, if it is a control plane of ours. `issuer` is the installation this worker registered with. */
  admit(token: string, issuer: string | undefined): Promise<ControlToken> {
    return verifyControlToken(token, this.#keys, {
      workerId: this.#options.workerId,
      issuer,
      takeNonce: (nonce) => this.#takeNonce(nonce),
    });
  }

  /** Whether a nonce is one of ours, of the last minute, and comes for the first time. */
  #takeNonce(nonce: string): boolean {
    const now = this.#options.clock.monotonic();
    try {
      checkNonce(this.#seal, nonce, now);
    } catch {
      return false;
    }
    for (const [old, at] of this.#used) {
      if (now - at <= LINK_NONCE_MS) break;
      this.#used.delete(old);
    }
    if (this.#used.has(nonce)) return false;
    this.#used.set(nonce, now);
    return true;
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
