/** Time as the store needs it: what every stored time is derived from. It is read inside the transaction that writes. */
export interface StoreClock {
  /** Wall-clock time in ms since the Unix epoch. */
  now(): number;
}
