import type { Content } from "./http-client.ts";

/** Cuts content into pieces of `size` bytes, the last one shorter; holds one at a time. */
export async function* toPieces(content: Content | Blob, size: number): AsyncGenerator<Uint8Array, void, void> {
  if (content instanceof Blob) {
    for (let at = 0; at < content.size; at += size) yield new Uint8Array(await content.slice(at, at + size).arrayBuffer());
    return;
  }
  const whole = typeof content === "string" ? new TextEncoder().encode(content) : content;
  if (whole instanceof Uint8Array) {
    for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
    return;
  }
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const bytes of whole as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < bytes.length;) {
      const take = Math.min(size - filled, bytes.length - at);
      piece.set(bytes.subarray(at, at + take), filled);
      filled += take;
      at += take;
      if (filled < size) continue;
      yield piece;
      // The last one may still be on its way.
      piece = new Uint8Array(size);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
