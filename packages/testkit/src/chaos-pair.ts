import { duplexPair, Transform, type Duplex } from "node:stream";
import type { SeededRandom } from "./seeded-random.ts";

/** What goes wrong between the two ends. */
export interface ChaosOptions {
  readonly random: SeededRandom;
  /** Cuts every write into pieces of at most this many bytes. Default: as written. */
  readonly maxPiece?: number;
  /** Breaks the connection once this many bytes went through, both ways together. Default: never. */
  readonly cutAfter?: number;
}

/** Two connected streams in memory with faults between them. */
export function chaosPair(options: ChaosOptions): [Duplex, Duplex] {
  const [left, innerLeft] = duplexPair();
  const [right, innerRight] = duplexPair();
  let passed = 0;
  const cut = (): void => {
    for (const end of [innerLeft, innerRight, left, right]) end.destroy();
  };
  const mangle = (): Transform =>
    new Transform({
      transform(chunk: Buffer, _encoding, done) {
        for (let at = 0; at < chunk.length;) {
          let size = chunk.length - at;
          if (options.maxPiece !== undefined) size = Math.min(size, options.random.int(1, options.maxPiece));
          if (options.cutAfter !== undefined && passed + size >= options.cutAfter) {
            this.push(chunk.subarray(at, at + options.cutAfter - passed));
            setImmediate(cut);
            return;
          }
          this.push(chunk.subarray(at, at + size));
          passed += size;
          at += size;
        }
        done();
      },
    });
  innerLeft.pipe(mangle()).pipe(innerRight);
  innerRight.pipe(mangle()).pipe(innerLeft);
  return [left, right];
}
