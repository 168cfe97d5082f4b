import process from "node:process";
import { SeededRandom } from "@caisson/testkit";

/** A broken promise of the system under test. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Something that will happen. */
export interface Scheduled {
  cancel(): void;
}

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void | Promise<void>;
  cancelled: boolean;
}

/** Discrete-event time: nothing happens but what was scheduled, one thing at a time, in an order that the seed decides. */
export class Simulation {
  readonly random: SeededRandom;
  /** True time that has passed, in ms. */
  now = 0;
  /** What happened, when recording. */
  readonly trace: string[] = [];
  readonly #recording: boolean;
  /** Sorted, the next one last. */
  readonly #queue: Entry[] = [];
  #order = 0;
  #violation: Violation | undefined;

  constructor(seed: number, recording: boolean) {
    this.random = new SeededRandom(seed);
    this.#recording = recording;
  }

  /** Lets something happen in `ms`. */
  after(ms: number, run: () => void | Promise<void>): Scheduled {
    const entry: Entry = { at: this.now + Math.max(0, ms), order: this.#order, run, cancelled: false };
    this.#order += 1;
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#queue[middle];
      if (other !== undefined && (other.at > entry.at || (other.at === entry.at && other.order > entry.order))) low = middle + 1;
      else high = middle;
    }
    this.#queue.splice(low, 0, entry);
    return {
      cancel: () => {
        entry.cancelled = true;
      },
    };
  }

  /** Lets time pass until `until`. */
  async run(until: number): Promise<void> {
    await settle();
    for (let next = this.#queue.at(-1); next !== undefined && next.at <= until; next = this.#queue.at(-1)) {
      this.#queue.pop();
      if (next.cancelled) continue;
      this.now = Math.max(this.now, next.at);
      await next.run();
      await settle();
      this.surface();
    }
    this.now = Math.max(this.now, until);
  }

  /** Ends the run after this event. Not thrown, so that the system under test cannot swallow it. */
  violate(message: string): void {
    this.note(() => `BROKEN ${message}`);
    this.#violation ??= new Violation(message);
  }

  /** Throws what was violated. */
  surface(): void {
    if (this.#violation !== undefined) throw this.#violation;
  }

  /** Notes what happened, for a run that is replayed. The text is only made when somebody will read it. */
  note(text: () => string): void {
    if (this.#recording) this.trace.push(`${(this.now / 1000).toFixed(3).padStart(9)}  ${text()}`);
  }

  /** A time in ms: mostly near `usual`, sometimes up to `worst`. */
  delay(usual: number, worst: number, oddsOfWorst: number): number {
    return this.random.chance(oddsOfWorst) ? this.random.int(usual, worst) : this.random.int(0, usual);
  }
}

/**
 * Lets all that is ready run: only promises and no timers are at work between two events. Node runs a tick that is asked for
 * by a promise's continuation when no continuation is left, which takes a tenth of a turn of its event loop.
 */
function settle(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}
