/** Where input goes. */
export interface InputSink {
  /** Resolves when the bytes were taken and there may be more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends the input. */
  close(): Promise<void>;
}

/** What the owner of a queue learns of it. */
export interface InputEvents {
  /** The queue has more than it should, or has room again. */
  readonly full: (full: boolean) => void;
  /** Nothing is taken any more; what comes is dropped. */
  readonly refused: (reason: unknown) => void;
}

/** Bytes that may wait before the client is asked to, by not reading it. */
const HIGH = 262_144;

/** What an item counts for at least. */
const LEAST = 64;

/** Bytes, the end of the input, or something to wait for before the next. */
type Item = Uint8Array | "end" | Promise<void>;

/** Input in the order it came, given to a process at its pace. */
export class InputQueue {
  readonly #sink: InputSink;
  readonly #events: InputEvents;
  readonly #waiting: Item[] = [];
  #weight = 0;
  #running: Promise<void> | undefined;
  #state: "open" | "ended" | "refused" = "open";

  constructor(sink: InputSink, events: InputEvents) {
    this.#sink = sink;
    this.#events = events;
  }

  /** Adds bytes. After the end, or once refused, they are dropped. */
  write(bytes: Uint8Array): void {
    if (this.#state === "open" && bytes.length > 0) this.#push(bytes);
  }

  /** What comes later waits for something that does not fail; what came before does not. */
  after(done: Promise<void>): void {
    if (this.#state === "open") this.#push(done);
  }

  /** Ends the input behind what waits. */
  end(): void {
    if (this.#state !== "open") return;
    this.#state = "ended";
    this.#push("end");
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    await this.#running;
  }

  #push(item: Item): void {
    const before = this.#weight;
    this.#waiting.push(item);
    this.#weight += weightOf(item);
    if (before <= HIGH && this.#weight > HIGH) this.#events.full(true);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      for (let item = this.#waiting[0]; item !== undefined; item = this.#waiting[0]) {
        await (item === "end" ? this.#sink.close() : item instanceof Promise ? item : this.#sink.write(item));
        void this.#waiting.shift();
        const before = this.#weight;
        this.#weight -= weightOf(item);
        if (before > HIGH && this.#weight <= HIGH) this.#events.full(false);
      }
    } catch (error) {
      this.#state = "refused";
      this.#waiting.length = 0;
      if (this.#weight > HIGH) this.#events.full(false);
      this.#weight = 0;
      this.#events.refused(error);
    }
    this.#running = undefined;
  }
}

function weightOf(item: Item): number {
  return item instanceof Uint8Array ? Math.max(LEAST, item.length) : LEAST;
}
