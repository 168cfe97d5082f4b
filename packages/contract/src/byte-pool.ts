/** Size of a pooled buffer, in bytes: one full frame of the link, as a line of JSON or as it is. */
export const POOLED_BYTES = 98_304;
/** Pieces below this are not worth a pooled buffer, in bytes. */
const WORTH = 49_152;
/** Most buffers kept for later. */
const KEPT = 32;

/** Buffers that can be had now. */
const free: ArrayBuffer[] = [];
/** Buffers that were lent and not given back; those who forget to are left to the garbage collector. */
const lent = new WeakSet<ArrayBufferLike>();

/**
 * Room for bytes of a stream. Memory outside the heap costs much to allocate and more to collect, so what flows in bulk
 * is kept in buffers that are used again: `recycleBytes` gives one back. Not zeroed.
 */
export function pooledBytes(length: number): Uint8Array {
  if (length < WORTH || length > POOLED_BYTES) return new Uint8Array(length);
  const buffer = free.pop() ?? new ArrayBuffer(POOLED_BYTES);
  lent.add(buffer);
  return new Uint8Array(buffer, 0, length);
}

/**
 * Gives back what `pooledBytes` gave, or any view of it: by the one who knows that nobody will look at these bytes again.
 * Does nothing for other bytes, and nothing a second time.
 */
export function recycleBytes(bytes: Uint8Array): void {
  const { buffer } = bytes;
  if (lent.delete(buffer) && free.length < KEPT) free.push(buffer as ArrayBuffer);
}
