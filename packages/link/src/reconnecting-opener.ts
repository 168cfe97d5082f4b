import type { Duplex } from "node:stream";
import { CaissonError, isCaissonError, type CallOptions, type Channel, type ChannelOpener } from "@caisson/contract";
import { DeferredCall } from "./deferred-call.ts";
import { Link } from "./link.ts";
import type { LinkOptions } from "./link-options.ts";

/** How a link is made again. */
export interface ReconnectingOptions extends Omit<LinkOptions, "role"> {
  /** A fresh connection; the signal aborts when nobody wants it any more. */
  readonly connect: (signal: AbortSignal) => Promise<Duplex>;
  /** A link that was up has ended, and nobody closed it. */
  readonly broke?: () => void;
  /** Time for one connection with its handshake, in ms. Default 10 000. */
  readonly connectDeadlineMs?: number;
  /** First and longest wait between attempts after a failure, in ms. Default 50 and 2000. */
  readonly backoffMs?: readonly [number, number];
}

/**
 * Opens channels over one shared link that is dialled when it is first needed and again when it is next needed after a
 * break. A call is never sent twice: one that was under way when the link broke fails with the named error.
 */
export class ReconnectingOpener implements ChannelOpener {
  readonly #options: ReconnectingOptions;
  readonly #closing = new AbortController();
  #link: Link | undefined;
  #dialling: Promise<Link> | undefined;
  #failures = 0;
  #failedAt = 0;

  constructor(options: ReconnectingOptions) {
    this.#options = options;
  }

  /** Whether a link is up now. */
  get connected(): boolean {
    return this.#link !== undefined && this.#link.reason === undefined;
  }

  open(method: string, params: Readonly<Record<string, unknown>>, options: CallOptions = {}): Channel {
    if (this.#link !== undefined && this.#link.reason === undefined) return this.#link.open(method, params, options);
    return new DeferredCall(this.#dial(), this.#options.clock, method, params, options);
  }

  /** Resolves once a link is up; rejects with the named error. */
  async ready(): Promise<Link> {
    return this.#link !== undefined && this.#link.reason === undefined ? this.#link : this.#dial();
  }

  /** Ends the link and refuses every later call. Idempotent. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(this.#named("it was closed"));
    this.#link?.close();
  }

  #named(why: string, cause?: unknown): CaissonError {
    return new CaissonError(this.#options.lostCode ?? "agent_unreachable", `No connection: ${why}.`, { cause });
  }

  #dial(): Promise<Link> {
    this.#dialling ??= this.#connect().finally(() => (this.#dialling = undefined));
    return this.#dialling;
  }

  async #connect(): Promise<Link> {
    const { clock, backoffMs = [50, 2000], connectDeadlineMs = 10_000 } = this.#options;
    const closing = this.#closing.signal;
    if (this.#failures > 0) {
      const wait = Math.min(backoffMs[0] * 2 ** (this.#failures - 1), backoffMs[1]) - (clock.monotonic() - this.#failedAt);
      if (wait > 0) await clock.sleep(wait, closing).catch(() => undefined);
    }
    if (closing.aborted) throw closing.reason;
    const attempt = new AbortController();
    const abort = (): void => attempt.abort(closing.reason);
    closing.addEventListener("abort", abort, { once: true });
    const timer = clock.schedule(connectDeadlineMs, () => attempt.abort(this.#named(`none within ${connectDeadlineMs} ms`)));
    try {
      const link = await this.#handshake(attempt.signal);
      this.#failures = 0;
      this.#link = link;
      void link.closed.then(() => {
        if (this.#link === link) this.#link = undefined;
        if (!closing.aborted) this.#options.broke?.();
      });
      return link;
    } catch (error) {
      this.#failures++;
      this.#failedAt = clock.monotonic();
      throw isCaissonError(error) ? error : this.#named(error instanceof Error ? error.message : String(error), error);
    } finally {
      timer.cancel();
      closing.removeEventListener("abort", abort);
    }
  }

  /** Connects and waits for hello; whatever comes too late is destroyed. */
  async #handshake(signal: AbortSignal): Promise<Link> {
    const { connect, ...options } = this.#options;
    const aborted = new Promise<never>((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as CaissonError), { once: true });
    });
    aborted.catch(() => undefined);
    const connecting = connect(signal);
    connecting.then(
      (stream) => void (signal.aborted && stream.destroy()),
      () => undefined,
    );
    const stream = await Promise.race([connecting, aborted]);
    const link = new Link(stream, { ...options, role: "dialler" });
    try {
      await Promise.race([link.ready, aborted]);
    } catch (error) {
      link.close();
      throw error;
    }
    return link;
  }
}
