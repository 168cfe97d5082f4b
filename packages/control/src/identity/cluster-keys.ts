import { CaissonError, type Random } from "@caisson/contract";
import {
  authoritySchema,
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
/** How long keys that were read are taken for the newest, in ms. */
const FRESH_MS = 60_000;
/** Shortest time between two looks for a key that is not known, in ms. */
const LOOK_MS = 1_000;

interface ReadKeys {
  /** As stored. */
  readonly text: string;
  /** Oldest first. */
  readonly keys: readonly SigningKey[];
  readonly set: SigningKeySet;
  readonly readAt: number;
}

/** Keys that all control planes of an installation share: made by whoever needs them first, kept in the database. */
export class ClusterKeys implements SigningKeySource {
  readonly #secrets: ClusterSecretRepository;
  readonly #clock: StoreClock;
  readonly #random: Random;
  readonly #made = new Map<string, Promise<string>>();
  #authority: Promise<Authority> | undefined;
  #signing: ReadKeys | undefined;

  constructor(secrets: ClusterSecretRepository, clock: StoreClock, random: Random) {
    this.#secrets = secrets;
    this.#clock = clock;
    this.#random = random;
  }

  /** Id of the installation: 16 characters, lower-case hex. */
  installation(): Promise<string> {
    return this.#once("installation", () => Buffer.from(this.#random.bytes(8)).toString("hex"));
  }

  /** Who issues tokens, as they name it. */
  async issuer(): Promise<string> {
    return `caisson:${await this.installation()}`;
  }

  /** Seals nonces. */
  async nonceKey(): Promise<Uint8Array> {
    return Buffer.from(await this.#once("link_nonce_key", () => Buffer.from(this.#random.bytes(32)).toString("base64url")), "base64url");
  }

  /** Issues certificates of workers. */
  authority(): Promise<Authority> {
    this.#authority ??= this.#once("worker_authority", async () =>
      JSON.stringify(await makeAuthority(await this.installation(), this.#clock.now())),
    ).then((text) => authoritySchema.parse(JSON.parse(text)));
    this.#authority.catch(() => (this.#authority = undefined));
    return this.#authority;
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

  /** Makes a successor of the newest key. It signs after an hour; the one before verifies for another 8 days. */
  async rotate(): Promise<void> {
    await this.#succeed(await this.#read());
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
    const kept = keys.filter((_, at) => {
      const next = keys[at + 1];
      return next === undefined || this.#age(next) < SETTLE_MS + OUTLIVE_MS;
    });
    const successors = JSON.stringify([...kept, await makeSigningKey(this.#clock.now())]);
    // Who loses takes what the winner wrote.
    return (await this.#secrets.replace(SIGNING_KEYS, text, successors)) ? this.#take(successors) : this.#read();
  }

  #take(text: string): ReadKeys {
    const keys = readSigningKeys(text);
    return (this.#signing = { text, keys, set: new SigningKeySet(publicKeySet(keys)), readAt: this.#clock.now() });
  }

  #age(key: SigningKey): number {
    return this.#clock.now() - key.created_at;
  }

  #once(name: string, make: () => string | Promise<string>): Promise<string> {
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const made = this.#secrets.getOrMake(name, make);
    this.#made.set(name, made);
    made.catch(() => this.#made.delete(name));
    return made;
  }
}
