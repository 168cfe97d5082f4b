/** Randomness as the rest of the code sees it; handed in so that runs can be replayed. */
export interface Random {
  /** `count` fresh random bytes. */
  bytes(count: number): Uint8Array;
}

/** The machine's cryptographic randomness. */
export const systemRandom: Random = {
  bytes: (count) => crypto.getRandomValues(new Uint8Array(count)),
};
