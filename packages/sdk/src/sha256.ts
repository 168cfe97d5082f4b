/** A SHA-256 that is fed piece by piece: `crypto.subtle` takes whole messages only. */
export interface Sha256 {
  update(bytes: Uint8Array): void;
  /** The digest in hex. Nothing can be added after it. */
  hex(): string;
}

/** What is used of Node's and Bun's own module, which is many times faster. */
interface NativeCrypto {
  createHash(name: "sha256"): { update(bytes: Uint8Array): unknown; digest(form: "hex"): string };
}

/** A new SHA-256: the platform's where it has one that streams, else ours. */
export function createSha256(): Sha256 {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  const native = process?.getBuiltinModule?.("crypto") as NativeCrypto | undefined;
  if (native === undefined) return new PortableSha256();
  const hash = native.createHash("sha256");
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest("hex") };
}

/** The value of `Repr-Digest` for a SHA-256 in hex. */
export function reprDigest(hex: string): string {
  const bytes = hex.match(/../g)?.map((pair) => Number.parseInt(pair, 16)) ?? [];
  return `sha-256=:${btoa(String.fromCharCode(...bytes))}:`;
}

/** The SHA-256, in hex, of a `Repr-Digest`; undefined when it has none. */
export function sha256Of(header: string | null): string | undefined {
  const base64 = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(header ?? "")?.[1];
  if (base64 === undefined) return undefined;
  return Array.from(atob(base64), (char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
}

/** FIPS 180-4, 4.2.2: the fractions of the cube roots of the first 64 primes. */
const K = fractions(64, Math.cbrt);
/** FIPS 180-4, 5.3.3: the fractions of the square roots of the first 8. */
const H = fractions(8, Math.sqrt);

const BLOCK = 64;

/** SHA-256 in plain JavaScript, for browsers. */
export class PortableSha256 implements Sha256 {
  readonly #state = Int32Array.from(H);
  readonly #words = new Int32Array(64);
  readonly #block = new Uint8Array(BLOCK);
  readonly #view = new DataView(this.#block.buffer);
  #filled = 0;
  #length = 0;

  update(bytes: Uint8Array): void {
    this.#length += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      const take = Math.min(BLOCK - this.#filled, bytes.length - at);
      this.#block.set(bytes.subarray(at, at + take), this.#filled);
      this.#filled += take;
      at += take;
      if (this.#filled === BLOCK) this.#compress();
    }
  }

  hex(): string {
    const bits = this.#length * 8;
    const padding = new Uint8Array((this.#filled < 56 ? 56 : 120) - this.#filled + 8);
    padding[0] = 0x80;
    const end = new DataView(padding.buffer);
    end.setUint32(padding.length - 8, Math.floor(bits / 2 ** 32));
    end.setUint32(padding.length - 4, bits >>> 0);
    this.update(padding);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #compress(): void {
    const w = this.#words;
    const s = this.#state;
    for (let i = 0; i < 16; i += 1) w[i] = this.#view.getInt32(i * 4);
    for (let i = 16; i < 64; i += 1) {
      const x = w[i - 15] as number;
      const y = w[i - 2] as number;
      const small = (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
      w[i] = ((w[i - 16] as number) + (w[i - 7] as number) + small) | 0;
    }
    let [a, b, c, d, e, f, g, h] = s as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i += 1) {
      const one = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + (K[i] as number) + (w[i] as number)) | 0;
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      // One by one: swapping by destructuring takes twice the time.
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    const after = [a, b, c, d, e, f, g, h] as const;
    for (let i = 0; i < 8; i += 1) s[i] = ((s[i] as number) + (after[i] as number)) | 0;
    this.#filled = 0;
  }
}

function turn(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}

/** The first 32 bits of the fractions of a root of the first primes. */
function fractions(count: number, root: (prime: number) => number): Int32Array {
  const found: number[] = [];
  for (let n = 2; found.length < count; n += 1) {
    let prime = true;
    for (let d = 2; d * d <= n; d += 1) if (n % d === 0) prime = false;
    if (prime) found.push(((root(n) % 1) * 2 ** 32) | 0);
  }
  return Int32Array.from(found);
}
