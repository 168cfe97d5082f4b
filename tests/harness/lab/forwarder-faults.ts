import type { Socket } from "node:net";

/** Most bytes that wait in one direction of one connection; its sender waits then. */
const WAITING = 64 * 1_048_576;
const MAX_HEAD = 16_384;

/** What goes wrong with connections that a forwarder passes on: told at any time, for those that are open too. */
export class Faults {
  /** By how much what the far side sends comes late, in ms. */
  delayMs = 0;
  /** First line of a request (its beginning): the answer is swallowed and the connection broken. Once; then undefined. */
  swallow: string | undefined = undefined;
  readonly #swallowed: (text: string) => void;

  constructor(swallowed: (text: string) => void) {
    this.#swallowed = swallowed;
  }

  /** Joins two connections, each side's end by itself; when one breaks so does the other. */
  join(near: Socket, far: Socket): void {
    let lost: string | undefined;
    near.on("data", (bytes: Buffer) => {
      const wanted = this.swallow;
      // Small requests come in one piece.
      if (wanted !== undefined && bytes.subarray(0, MAX_HEAD).toString("latin1").startsWith(wanted)) {
        this.swallow = undefined;
        lost = wanted;
      }
    });
    this.#pipe(near, far, { delay: () => this.delayMs });
    this.#pipe(far, near, {
      delay: () => this.delayMs,
      lose: () => {
        if (lost === undefined) return false;
        this.#swallowed(lost);
        near.resetAndDestroy();
        far.resetAndDestroy();
        return true;
      },
    });
    near.once("close", () => this.#breakLate(far));
    far.once("close", () => this.#breakLate(near));
    near.resume();
    far.resume();
  }

  #breakLate(socket: Socket): void {
    setTimeout(() => socket.destroy(), this.delayMs);
  }

  #pipe(from: Socket, to: Socket, how: { readonly delay: () => number; readonly lose?: () => boolean }): void {
    let waiting = 0;
    const queue: { readonly due: number; readonly act: () => void }[] = [];
    const drain = (): void => {
      for (let next = queue[0]; next !== undefined; next = queue[0]) {
        const wait = next.due - performance.now();
        // One timer at a time: two could go off in another order.
        if (wait > 0) return void setTimeout(drain, Math.ceil(wait));
        queue.shift();
        next.act();
      }
    };
    /** Does something not before its time, and not before what was begun earlier. */
    const later = (act: () => void): void => {
      const due = Math.max(queue.at(-1)?.due ?? 0, performance.now() + how.delay());
      queue.push({ due, act });
      if (queue.length === 1) drain();
    };
    from.on("data", (bytes: Buffer) => {
      if (how.lose?.() === true) return;
      waiting += bytes.length;
      if (waiting > WAITING) from.pause();
      later(() => {
        if (to.destroyed) return;
        const flows = to.write(bytes, () => {
          waiting -= bytes.length;
          if (waiting <= WAITING && from.isPaused()) from.resume();
        });
        if (!flows) {
          from.pause();
          to.once("drain", () => from.resume());
        }
      });
    });
    from.on("end", () => later(() => to.end()));
  }
}
