import { CaissonError, type Random } from "@caisson/contract";
import {
  authoritySchema,
  endedLegacyKey,
  LEGACY_GRANT_KEY,
  makeAuthority,
  makeSigningKey,
  newSigningKeys,
  publicKeySet,
  readSigningKeys,
  SIGNING_KEYS,
  SigningKeySet,
  type Authority,
  type PublicKeySet,
  type SigningKey,
  type SigningKeySource,
} from "@caisson/identity";
import type { ClusterSecretRepository, StoreClock } from "@caisson/store";

const HOUR_MS = 3_600_000;
/** Age at which a signing key gets a successor. */
const ROTATE_MS = 90 * 24 * HOUR_MS;
/** Age from which a key signs: until then it only verifies, so that everybody has learnt it before it is used. */
const SETTLE_MS = HOUR_MS;
/** How long a key verifies after its successor signs: longer than any token lives. */
const OUTLIVE_MS = 8 * 24 * HOUR_MS;
/** How long keys that were read are taken for the newest, in ms: what another control plane replaced is in force here no longer. */
const FRESH_MS = 30_000;
/** Shortest time between two looks for a key that is not known, in ms. */
const LOOK_MS = 1_000;
/** Most keys at once: as many as everybody takes who verifies. */
const MOST_KEYS = 8;
const NONCE_KEY = "link_nonce_key";
const AUTHORITY = "worker_authority";

interface ReadKeys {
  /** As stored. */
  readonly text: string;
  /** Oldest first. */
  readonly keys: readonly SigningKey[];
  readonly set: SigningKeySet;
  readonly readAt: number;
}

/** What became of the keys that sign. Times are ms since the Unix epoch. */
export interface Rotation {
  /** The newest key. */
  readonly keyId: string;
  /** From when it signs. */
  readonly signsAt: number;
  /** Until when what the others signed is good. */
  readonly othersUntil: number;
}

/** Keys that all control planes of an installation share: made by whoever needs them first, kept in the database. */
export class ClusterKeys implements SigningKeySource {
  readonly #secrets: ClusterSecretRepository;
  readonly #clock: StoreClock;
  readonly #random: Random;
  readonly #made = new Map<string, { readonly value: Promise<string>; readonly until: number }>();
  #signing: ReadKeys | undefined;

  constructor(secrets: ClusterSecretRepository, clock: StoreClock, random: Random) {
    this.#secrets = secrets;
    this.#clock = clock;
    this.#random = random;
  }

  /** Id of the installation: 16 characters, lower-case hex. */
  installation(): Promise<string> {
    return this.#kept("installation", () => Buffer.from(this.#random.bytes(8)).toString("hex"), Infinity);
  }

  /** Who issues tokens, as they name it. */
  async issuer(): Promise<string> {
    return `caisson:${await this.installation()}`;
  }

  /** Seals nonces. */
  async nonceKey(): Promise<Uint8Array> {
    return Buffer.from(await this.#kept(NONCE_KEY, this.#newNonceKey), "base64url");
  }

  /** Issues certificates of workers. */
  async authority(): Promise<Authority> {
    return authoritySchema.parse(JSON.parse(await this.#kept(AUTHORITY, this.#newAuthority)));
  }

  /** The key to sign tokens with now. */
  async signingKey(): Promise<SigningKey> {
    const { keys } = await this.#current();
    const settled = keys.findLast((key) => this.#age(key) >= SETTLE_MS) ?? keys[0];
    if (settled === undefined) throw new CaissonError("internal", "The installation has no key that signs tokens.");
    return settled;
  }

  /** The keys that verify tokens; with `wanted`, those of now where this key is not among the ones read last. */
  async verifyingKeys(wanted?: string): Promise<SigningKeySet> {
    const current = await this.#current();
    if (wanted === undefined || (await current.set.get(wanted)) !== undefined) return current.set;
    return this.#clock.now() - current.readAt < LOOK_MS ? current.set : (await this.#read()).set;
  }

  /** The public halves of all keys that verify. */
  async publicKeys(): Promise<PublicKeySet> {
    return publicKeySet((await this.#current()).keys);
  }

  /** Whether what this key signed is good now. */
  async verifies(keyId: string): Promise<boolean> {
    return (await this.#current()).keys.some(({ kid }) => kid === keyId);
  }

  /** Has keys read anew before they are used: for what is to be good for long. */
  forget(): void {
    this.#signing = undefined;
    for (const name of [NONCE_KEY, AUTHORITY]) this.#made.delete(name);
  }

  /**
   * Makes a successor of the newest key, unless there is one that does not sign yet. It signs after an hour; the ones before
   * verify for another 8 days. `state_conflict` while there are too many of those.
   */
  async rotate(): Promise<Rotation> {
    const current = await this.#read();
    const pending = current.keys.length > 1 ? current.keys.findLast((key) => this.#age(key) < SETTLE_MS) : undefined;
    if (pending === undefined && current.keys.length >= MOST_KEYS) {
      const message = `${MOST_KEYS} keys are good now; those that were replaced are so for ${OUTLIVE_MS / HOUR_MS / 24} days.`;
      throw new CaissonError("state_conflict", message, {
        detail: { remedy: "Wait until the oldest is over, or replace all at once: `immediately`, --now." },
      });
    }
    const key = pending ?? (await this.#succeed(current)).keys.at(-1);
    if (key === undefined) throw new CaissonError("internal", "The installation has no key that signs tokens.");
    const signsAt = key.created_at + SETTLE_MS;
    return { keyId: key.kid, signsAt, othersUntil: signsAt + OUTLIVE_MS };
  }

  /**
   * Replaces every key that whoever read the database could use: those that sign, that of nonces, and the authority of
   * certificates. Nothing that came of them is good here from now on, and on other control planes once they look again.
   */
  async replace(): Promise<Rotation> {
    const now = this.#clock.now();
    // A worker that renews between two of these gets one thing of old, and has it replaced with the token, whose key comes last.
    await this.#put(AUTHORITY, this.#newAuthority);
    await this.#put(NONCE_KEY, this.#newNonceKey);
    if ((await this.#secrets.get(LEGACY_GRANT_KEY)) !== undefined)
      await this.#put(LEGACY_GRANT_KEY, () => endedLegacyKey(this.#random.bytes(32), now));
    const [key] = readSigningKeys(await this.#put(SIGNING_KEYS, () => newSigningKeys(now)));
    this.forget();
    return { keyId: key.kid, signsAt: now, othersUntil: now };
  }

  async #current(): Promise<ReadKeys> {
    const known = this.#signing;
    const current = known !== undefined && this.#clock.now() - known.readAt < FRESH_MS ? known : await this.#read();
    const newest = current.keys.at(-1);
    return newest !== undefined && this.#age(newest) < ROTATE_MS ? current : this.#succeed(current);
  }

  async #read(): Promise<ReadKeys> {
    return this.#take(await this.#secrets.getOrMake(SIGNING_KEYS, () => newSigningKeys(this.#clock.now())));
  }

  async #succeed({ text, keys }: ReadKeys): Promise<ReadKeys> {
    const successors = JSON.stringify([...keys, await makeSigningKey(this.#clock.now())]);
    // Who loses takes what the winner wrote.
    return (await this.#secrets.replace(SIGNING_KEYS, text, successors)) ? this.#take(successors) : this.#read();
  }

  /** Takes the keys that are good now: those whose successor has not signed for longer than tokens live. */
  #take(text: string): ReadKeys {
    const keys = readSigningKeys(text).filter((_, at, all) => {
      const next = all[at + 1];
      return next === undefined || this.#age(next) < SETTLE_MS + OUTLIVE_MS;
    });
    return (this.#signing = { text, keys, set: new SigningKeySet(publicKeySet(keys)), readAt: this.#clock.now() });
  }

  #age(key: SigningKey): number {
    return this.#clock.now() - key.created_at;
  }

  readonly #newNonceKey = (): string => Buffer.from(this.#random.bytes(32)).toString("base64url");

  readonly #newAuthority = async (): Promise<string> => JSON.stringify(await makeAuthority(await this.installation(), this.#clock.now()));

  /** A secret that was read not long ago. */
  #kept(name: string, make: () => string | Promise<string>, freshMs: number = FRESH_MS): Promise<string> {
    const now = this.#clock.now();
    const known = this.#made.get(name);
    if (known !== undefined && now < known.until) return known.value;
    const value = this.#secrets.getOrMake(name, make);
    this.#made.set(name, { value, until: now + freshMs });
    value.catch(() => this.#made.delete(name));
    return value;
  }

  /** Puts another value in place of whatever is there. */
  async #put(name: string, make: () => string | Promise<string>): Promise<string> {
    for (;;) {
      const before = await this.#secrets.getOrMake(name, make);
      const value = await make();
      if (await this.#secrets.replace(name, before, value)) return value;
    }
  }
}
