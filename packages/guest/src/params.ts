import { CaissonError } from "@caisson/contract";
import type { Wire } from "./answer.ts";

function wrong(key: string, expected: string): CaissonError {
  return new CaissonError("invalid_argument", `${key}: expected ${expected}.`);
}

/** Typed access to the parameters of a call. Every field must be taken by someone: `finish` refuses what is left over. */
export class Params {
  readonly #rest: Map<string, unknown>;

  constructor(params: Wire) {
    this.#rest = new Map(Object.entries(params));
  }

  /** Refuses fields that nobody took. */
  finish(): void {
    for (const key of this.#rest.keys()) throw new CaissonError("invalid_argument", `Unknown field ${key.slice(0, 64)}.`);
  }

  text(key: string): string | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (typeof value !== "string" || value.includes("\0")) throw wrong(key, "a string without NUL");
    return value;
  }

  path(key: string): string | undefined {
    const value = this.text(key);
    if (value !== undefined && (!value.startsWith("/") || Buffer.byteLength(value) >= 4096)) throw wrong(key, "an absolute path");
    return value;
  }

  int(key: string, min: number = 0, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max)
      throw wrong(key, `an integer from ${min} to ${max}`);
    return value as number;
  }

  flag(key: string, fallback: boolean): boolean {
    const value = this.#take(key);
    if (value === undefined) return fallback;
    if (typeof value !== "boolean") throw wrong(key, "true or false");
    return value;
  }

  oneOf<T extends string>(key: string, values: readonly T[]): T | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!values.includes(value as T)) throw wrong(key, `one of ${values.join(", ")}`);
    return value as T;
  }

  texts(key: string): readonly string[] | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string" && !item.includes("\0")))
      throw wrong(key, "a list of strings without NUL");
    return value as readonly string[];
  }

  textMap(key: string): Readonly<Record<string, string>> | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!isMap(value) || !Object.values(value).every((item) => typeof item === "string")) throw wrong(key, "a map of strings");
    return value as Readonly<Record<string, string>>;
  }

  bytes(key: string): Uint8Array | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!(value instanceof Uint8Array)) throw wrong(key, "bytes");
    return value;
  }

  /** A map whose own fields are checked by the caller. */
  map(key: string): Params | undefined {
    const value = this.#take(key);
    if (value === undefined) return undefined;
    if (!isMap(value)) throw wrong(key, "a map");
    return new Params(value);
  }

  #take(key: string): unknown {
    const value = this.#rest.get(key);
    this.#rest.delete(key);
    return value ?? undefined;
  }
}

/** A value that must be there. */
export function required<T>(key: string, value: T | undefined): T {
  if (value === undefined) throw new CaissonError("invalid_argument", `${key}: is required.`);
  return value;
}

function isMap(value: unknown): value is Wire {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
