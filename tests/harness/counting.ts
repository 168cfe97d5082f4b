import { spawnSync } from "node:child_process";
import { createHash, type Hash } from "node:crypto";

/** A shell line that writes the first `bytes` bytes of the numbers from 1 on, a line each: no two places of it are alike. */
export function countingCommand(bytes: number): string {
  return `seq 1 ${bytes} | head -c ${bytes}`;
}

/** SHA-256 of what `countingCommand` writes, by programs of this machine. */
export function countingSha256(bytes: number): string {
  const { stdout } = spawnSync("sh", ["-c", `${countingCommand(bytes)} | sha256sum`], { encoding: "utf8" });
  return stdout.slice(0, 64);
}

/** The bytes of the counting from one offset to another, made anew. */
export function countingBytes(from: number, to: number): Buffer {
  let { number, offset } = numberAt(from);
  const skip = from - offset;
  const lines: string[] = [];
  for (; offset < to; number += 1) {
    const line = `${number}\n`;
    lines.push(line);
    offset += line.length;
  }
  return Buffer.from(lines.join(""), "latin1").subarray(skip, skip + to - from);
}

/** The number whose line has the byte at an offset, and where its line begins. */
function numberAt(at: number): { number: number; offset: number } {
  let offset = 0;
  for (let digits = 1; ; digits += 1) {
    const first = 10 ** (digits - 1);
    const length = digits + 1;
    const all = 9 * first * length;
    if (at < offset + all) {
      const lines = Math.floor((at - offset) / length);
      return { number: first + lines, offset: offset + lines * length };
    }
    offset += all;
  }
}

/** A digest of the whole, fed in pieces that must follow each other. */
export class CountedDigest {
  readonly #hash: Hash = createHash("sha256");
  #next = 0;

  /** Offset of the byte that comes next. */
  get next(): number {
    return this.#next;
  }

  /** Takes a piece; throws when it is not the one that comes next. */
  add(offset: number, bytes: Uint8Array): void {
    if (offset !== this.#next) throw new Error(`a piece at ${offset}, where ${this.#next} comes next`);
    this.#hash.update(bytes);
    this.#next += bytes.length;
  }

  hex(): string {
    return this.#hash.digest("hex");
  }
}
