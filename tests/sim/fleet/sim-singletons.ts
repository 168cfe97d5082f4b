import type { SimProcess } from "../sim-process.ts";
import type { Simulation } from "../simulation.ts";

/** Longest time until the database finds that whoever held a lock is gone, in ms. */
const NOTICED_MS = { killed: 1_000, suspended: 30_000 } as const;

interface Waiter {
  readonly process: SimProcess;
  readonly granted: (right: AbortController) => void;
}

/**
 * Locks that the database gives to one control plane at a time, for as long as its connection lives. One whose holder is
 * suspended goes to another one, and the holder learns of that when it goes on.
 */
export class SimSingletons {
  readonly #simulation: Simulation;
  readonly #held = new Map<string, { readonly process: SimProcess; readonly right: AbortController }>();
  readonly #waiting = new Map<string, Waiter[]>();

  constructor(simulation: Simulation) {
    this.#simulation = simulation;
  }

  /** Runs `run` while the lock is this process's, again and again. */
  async run(process: SimProcess, name: string, run: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const right = await new Promise<AbortController>((granted) => {
        const list = this.#waiting.get(name) ?? [];
        list.push({ process, granted });
        this.#waiting.set(name, list);
        this.#grant(name);
      });
      await run(AbortSignal.any([signal, right.signal]));
      if (!right.signal.aborted) {
        this.#release(name, process);
        return;
      }
    }
  }

  /** A process was killed: what it held is free soon. */
  killed(process: SimProcess): void {
    this.#lose(process, NOTICED_MS.killed);
  }

  /** A process was suspended, or has lost its connection: what it held is free after a while. */
  cutOff(process: SimProcess): void {
    this.#lose(process, NOTICED_MS.suspended);
  }

  #lose(process: SimProcess, within: number): void {
    for (const [name, held] of this.#held) {
      if (held.process !== process) continue;
      this.#simulation.after(this.#simulation.random.int(0, within), () => {
        if (this.#held.get(name) !== held) return;
        if (process.alive && !process.frozen) return; // it was back in time
        this.#release(name, process);
        process.deliver(() => held.right.abort(new Error("simulated: the lock went to another control plane")));
      });
    }
  }

  #release(name: string, process: SimProcess): void {
    if (this.#held.get(name)?.process !== process) return;
    this.#held.delete(name);
    this.#grant(name);
  }

  #grant(name: string): void {
    if (this.#held.has(name)) return;
    const waiting = this.#waiting.get(name) ?? [];
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { process, granted } = next;
      if (!process.alive) continue;
      const right = new AbortController();
      this.#held.set(name, { process, right });
      this.#simulation.after(this.#simulation.random.int(0, 20), () => process.deliver(() => granted(right)));
      return;
    }
  }
}
