/** Chunks below this are not worth it, in bytes: they are trimmed to what was read. */
const WORTH = 4096;

/**
 * Frees the memory of a chunk that was read and taken apart. Sockets read 64 KiB at a time into memory outside the heap, of
 * which the collector lets tens of megabytes come together before it looks. Does nothing for a part of something larger.
 */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (chunk.byteLength < WORTH || chunk.byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) return;
  buffer.transfer(0);
}
