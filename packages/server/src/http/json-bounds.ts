const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** How much structure JSON bytes may have. */
export interface JsonBounds {
  /** Deepest nesting. */
  readonly depth: number;
  /** Most containers and commas: what a parser makes objects of. */
  readonly parts: number;
}

/** Which bound JSON bytes break, if any. It reads structure only, without making anything of it. */
export function brokenBound(bytes: Buffer, bounds: JsonBounds): keyof JsonBounds | undefined {
  let depth = 0;
  let parts = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at + 1);
        break;
      case 0x7b: // {
      case 0x5b: // [
        depth += 1;
        parts += 1;
        break;
      case 0x7d: // }
      case 0x5d: // ]
        depth -= 1;
        break;
      case 0x2c: // ,
        parts += 1;
        break;
      default:
    }
    if (depth > bounds.depth) return "depth";
    if (parts > bounds.parts) return "parts";
  }
  return undefined;
}

/** Offset of the quote that ends a string, or the end of the bytes. */
function endOfString(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let backslashes = 0;
    while (bytes[at - 1 - backslashes] === BACKSLASH) backslashes += 1;
    if (backslashes % 2 === 0) return at;
  }
  return bytes.length;
}
