import { STREAMS_REQUESTS, type Content } from "./http-client.ts";
import { pause } from "./pause.ts";

/** A pause in the input longer than this ends the request that carries it, in ms: no connection is held open for nothing. */
const IDLE_MS = 20_000;

/**
 * Sends input piece by piece as it comes, with one request for as long as it flows, or, where requests cannot stream, for each. Ends when all was sent, or when the
 * signal aborts, even if the input itself never ends.
 */
export async function feedInput(
  content: Content,
  send: (bytes: AsyncIterable<Uint8Array>) => Promise<void>,
  signal: AbortSignal,
  idleMs: number = IDLE_MS,
): Promise<void> {
  const source = new InputSource(content, signal);
  for (let piece = await source.next(); piece !== undefined; piece = await source.next()) {
    await send(STREAMS_REQUESTS ? source.flow(piece, idleMs) : toIterable(piece));
  }
  source.leave();
}

/** Input with one piece asked for ahead, so that asking can be given up without losing it. */
class InputSource {
  readonly #iterator: AsyncIterator<Uint8Array, unknown, undefined>;
  readonly #signal: AbortSignal;
  readonly #aborted: Promise<undefined>;
  #ahead: Promise<Uint8Array | undefined> | undefined;

  constructor(content: Content, signal: AbortSignal) {
    this.#iterator = toIterable(content)[Symbol.asyncIterator]();
    this.#signal = signal;
    this.#aborted = new Promise((resolve) => {
      if (signal.aborted) resolve(undefined);
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
  }

  /** The next piece; undefined at the end and when aborted. */
  async next(): Promise<Uint8Array | undefined> {
    const piece = await Promise.race([this.#ask(), this.#aborted]);
    this.#ahead = undefined;
    return piece;
  }

  /** A piece and those that follow it without a long pause. */
  async *flow(first: Uint8Array, idleMs: number): AsyncGenerator<Uint8Array> {
    for (let piece: Uint8Array | undefined = first; piece !== undefined;) {
      yield piece;
      using timer = new IdleTimer(idleMs);
      const came: Uint8Array | "idle" | undefined = await Promise.race([this.#ask(), this.#aborted, timer.passed]);
      if (came === "idle") return;
      // The end stays ahead, for `next` to find.
      if (came !== undefined) this.#ahead = undefined;
      piece = came;
    }
  }

  /** Lets the input go. A reader that waits for a piece that may never come cannot be waited for. */
  leave(): void {
    if (this.#signal.aborted) this.#iterator.return?.(undefined).catch(() => undefined);
  }

  #ask(): Promise<Uint8Array | undefined> {
    this.#ahead ??= this.#iterator.next().then((result) => (result.done === true ? undefined : result.value));
    return this.#ahead;
  }
}

class IdleTimer implements Disposable {
  readonly passed: Promise<"idle">;
  readonly #stop = new AbortController();

  constructor(ms: number) {
    this.passed = pause(ms, this.#stop.signal).then(
      () => "idle",
      () => "idle",
    );
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }
}

async function* toIterable(content: Content): AsyncGenerator<Uint8Array, void, undefined> {
  if (typeof content === "string") yield new TextEncoder().encode(content);
  else if (content instanceof Uint8Array) yield content;
  else yield* content as AsyncIterable<Uint8Array>;
}
