import { CaissonError } from "@caisson/contract";

/** A map as it came over the link. */
export type Wire = Readonly<Record<string, unknown>>;

function wrong(where: string, key: string, expected: string): CaissonError {
  return new CaissonError("protocol_error", `The guest agent answered wrongly: ${where}.${key} is not ${expected}.`);
}

/** Typed access to a map the agent sent. What does not fit is `protocol_error`: bytes from a sandbox are hostile. */
export class Answer {
  readonly #map: Wire;
  readonly #where: string;

  /** `where` names the map in errors. */
  constructor(map: Wire, where: string) {
    this.#map = map;
    this.#where = where;
  }

  /** An integer from 0, or from `min`. */
  int(key: string, min: number = 0): number {
    const value = this.#map[key];
    if (!Number.isSafeInteger(value) || (value as number) < min) throw wrong(this.#where, key, `an integer from ${min}`);
    return value as number;
  }

  intOrNull(key: string): number | null {
    return this.#absent(key) ? null : this.int(key, Number.MIN_SAFE_INTEGER);
  }

  text(key: string): string {
    const value = this.#map[key];
    if (typeof value !== "string") throw wrong(this.#where, key, "a string");
    return value;
  }

  textOrNull(key: string): string | null {
    return this.#absent(key) ? null : this.text(key);
  }

  flag(key: string): boolean {
    const value = this.#map[key];
    if (typeof value !== "boolean") throw wrong(this.#where, key, "true or false");
    return value;
  }

  oneOf<T extends string>(key: string, values: readonly T[]): T {
    const value = this.#map[key];
    if (!values.includes(value as T)) throw wrong(this.#where, key, `one of ${values.join(", ")}`);
    return value as T;
  }

  bytesMap(key: string): ReadonlyMap<string, Uint8Array> {
    const value = this.#map[key];
    if (!isMap(value) || !Object.values(value).every((item) => item instanceof Uint8Array)) throw wrong(this.#where, key, "a map of bytes");
    return new Map(Object.entries(value as Readonly<Record<string, Uint8Array>>));
  }

  texts(key: string): readonly string[] {
    const value = this.#map[key];
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw wrong(this.#where, key, "a list of strings");
    return value as readonly string[];
  }

  map(key: string): Answer {
    const value = this.#map[key];
    if (!isMap(value)) throw wrong(this.#where, key, "a map");
    return new Answer(value, `${this.#where}.${key}`);
  }

  mapOrNull(key: string): Answer | null {
    return this.#absent(key) ? null : this.map(key);
  }

  maps(key: string): readonly Answer[] {
    const value = this.#map[key];
    if (!Array.isArray(value) || !value.every(isMap)) throw wrong(this.#where, key, "a list of maps");
    return value.map((item, i) => new Answer(item, `${this.#where}.${key}[${i}]`));
  }

  #absent(key: string): boolean {
    const value = this.#map[key];
    return value === undefined || value === null;
  }
}

function isMap(value: unknown): value is Wire {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
