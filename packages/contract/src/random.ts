/** Randomness as the rest of the code sees it; handed in so that runs can be replayed. */
export interface Random {
  /** `count` fresh random bytes. */
  bytes(count: number): Uint8Array;
}

/** How much is drawn at a time: a draw costs as much for one byte as for hundreds. */
const POOL_BYTES = 2_048;

const pool = new Uint8Array(POOL_BYTES);
let used = POOL_BYTES;

/** The machine's cryptographic randomness. What was given out is kept nowhere. */
export const systemRandom: Random = {
  bytes: (count) => {
    if (count > POOL_BYTES) return crypto.getRandomValues(new Uint8Array(count));
    if (used + count > POOL_BYTES) {
      crypto.getRandomValues(pool);
      used = 0;
    }
    const drawn = pool.slice(used, used + count);
    pool.fill(0, used, used + count);
    used += count;
    return drawn;
  },
};
