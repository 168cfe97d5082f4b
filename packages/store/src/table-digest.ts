import { createHash } from "node:crypto";

const MODULUS = 1n << 256n;

/** What a table holds, whatever the order of its rows. */
export class TableDigest {
  readonly #columns: readonly string[];
  #sum = 0n;
  #rows = 0;

  constructor(columns: readonly string[]) {
    this.#columns = columns;
  }

  /** How many rows were added. */
  get rows(): number {
    return this.#rows;
  }

  add(row: Readonly<Record<string, unknown>>): void {
    const text = JSON.stringify(this.#columns.map((column) => plain(row[column])));
    this.#sum = (this.#sum + BigInt(`0x${createHash("sha256").update(text).digest("hex")}`)) % MODULUS;
    this.#rows += 1;
  }

  /** Whether another one had the same rows. */
  equals(other: TableDigest): boolean {
    return this.#rows === other.#rows && this.#sum === other.#sum;
  }
}

/** PostgreSQL has no character 0 in text; see `Session`. */
function plain(value: unknown): unknown {
  return typeof value === "string" ? Buffer.from(value.replaceAll("\0", "\uFFFD")).toString() : value;
}
