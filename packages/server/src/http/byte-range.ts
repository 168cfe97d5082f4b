/** A part of a file: its first byte and how many. */
export interface BytePart {
  readonly offset: number;
  readonly length: number;
}

/** What a `Range` header asks for, of a file of `size` bytes. */
export type RangeAnswer = { readonly kind: "whole" } | { readonly kind: "unsatisfiable" } | ({ readonly kind: "part" } & BytePart);

/**
 * Reads a `Range` header (RFC 9110, 14). One range of bytes is taken; several, other units and what is malformed mean the
 * whole file, as the standard allows.
 */
export function readRange(header: string, size: number): RangeAnswer {
  const match = /^bytes=[ \t]*(\d{0,16})-(\d{0,16})[ \t]*$/i.exec(header);
  const [first = "", last = ""] = match?.slice(1) ?? [];
  if (match === null || (first === "" && last === "")) return { kind: "whole" };
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? { kind: "unsatisfiable" } : { kind: "part", offset: size - length, length };
  }
  const offset = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (last !== "" && Number(last) < offset) return { kind: "whole" };
  return offset >= size ? { kind: "unsatisfiable" } : { kind: "part", offset, length: end - offset + 1 };
}

/** The `Content-Range` of a part. */
export function contentRange(part: BytePart, size: number): string {
  return `bytes ${part.offset}-${part.offset + part.length - 1}/${size}`;
}
