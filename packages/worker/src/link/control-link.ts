import type { Duplex } from "node:stream";
import {
  isCaissonError,
  toCaissonError,
  type CaissonError,
  type Clock,
  type Heartbeat,
  type HeartbeatReply,
  type Scope,
} from "@caisson/contract";
import { Link, type IncomingCall } from "@caisson/link";
import type { ProviderContext } from "@caisson/providers";
import { ControlClient, workerLinkOptions } from "@caisson/worker-link";
import type { Renewals } from "../identity/worker-credential-source.ts";
import { Wakeup } from "./wakeup.ts";

/** Longest time for the answer to a heartbeat, in ms. */
const ANSWER_MS = 10_000;
/** Longest time for each of the two answers that renew a link, in ms: the next heartbeat waits for them. */
const RENEW_MS = 3_000;

/** What one link with a control plane works with. */
export interface ControlLinkOptions {
  /** Id of the control plane's present run. */
  readonly id: string;
  /** Where it is, for people. */
  readonly where: string;
  readonly heartbeatMs: number;
  /** What takes the control plane's calls. */
  readonly serve: (scopes: ReadonlySet<Scope>) => (call: IncomingCall) => void;
  readonly scopes: ReadonlySet<Scope>;
  /** What comes after the token that opened the link; undefined where that has no end. */
  readonly renewals: Renewals | undefined;
  /** `renewals.count` when the link was opened, or a little before. */
  readonly shown: number;
  readonly heartbeat: (full: boolean) => Promise<Heartbeat>;
  /** A heartbeat was answered that left at this monotonic time. */
  readonly answered: (reply: HeartbeatReply, askedAt: number) => void;
  readonly clock: Clock;
  readonly log: ProviderContext["log"];
}

/** One link with one control plane: its calls are taken, and it hears of this worker at every interval. */
export class ControlLink {
  readonly id: string;
  readonly control: ControlClient;
  readonly #options: ControlLinkOptions;
  readonly #link: Link;
  readonly #wakeup: Wakeup;
  readonly #answer: Wakeup;
  readonly #ended = new AbortController();
  readonly #heard = Promise.withResolvers<void>();
  /** Heartbeats that were begun, and the newest of them that was answered. */
  #begun = 0;
  #answered = 0;
  /** One is wanted that was not begun yet. */
  #wanted = false;
  /** `renewals.count` when the control plane was last shown a token, or said that it takes none. */
  #shown: number;

  constructor(stream: Duplex, role: "dialler" | "listener", options: ControlLinkOptions) {
    this.id = options.id;
    this.#options = options;
    this.#shown = options.shown;
    this.#wakeup = new Wakeup(options.clock);
    this.#answer = new Wakeup(options.clock);
    this.#link = new Link(stream, workerLinkOptions(stream, "worker", role, options.serve(options.scopes), options.clock));
    this.control = new ControlClient(this.#link);
    this.#heard.promise.catch(() => undefined);
    void this.#link.closed.then((reason) => {
      this.#ended.abort(reason);
      this.#heard.reject(reason);
    });
  }

  /** Resolves with the first answer to a heartbeat: from then on the control plane knows this worker. Rejects when the link ends before. */
  get heard(): Promise<void> {
    return this.#heard.promise;
  }

  /** Whether it carries calls now. */
  get isUp(): boolean {
    return this.#answered > 0 && this.#link.reason === undefined;
  }

  /** Sends heartbeats until the link ends; resolves with why. */
  async run(): Promise<CaissonError> {
    const { heartbeatMs } = this.#options;
    const { signal } = this.#ended;
    try {
      await this.#link.ready;
      let full = true;
      while (!signal.aborted) {
        this.#wanted = false;
        await this.#renew();
        full = await this.#beat(full);
        if (!full && !this.#wanted) await this.#wakeup.wait(heartbeatMs, signal);
      }
    } catch (error) {
      this.#link.close(toCaissonError(error));
    }
    return this.#link.closed;
  }

  /** Sends the next heartbeat now, or right after the one under way, which may not have what is new. */
  beatNow(): void {
    this.#wanted = true;
    this.#wakeup.wake();
  }

  /** Resolves when a heartbeat that was sent from now on was answered, or with the signal, or with the link. */
  async told(signal: AbortSignal): Promise<void> {
    const wanted = this.#begun + 1;
    this.beatNow();
    while (this.#answered < wanted && !signal.aborted && !this.#ended.signal.aborted)
      await this.#answer.wait(ANSWER_MS, AbortSignal.any([signal, this.#ended.signal]));
  }

  close(reason: CaissonError): void {
    this.#link.close(reason);
  }

  /** Shows a token that came since, so that the link does not end with the one before. Never rejects: a link may end and be dialled anew. */
  async #renew(): Promise<void> {
    const { renewals, log, where } = this.#options;
    if (renewals === undefined || renewals.count === this.#shown) return;
    const { count } = renewals;
    const options = { deadlineMs: RENEW_MS, signal: this.#ended.signal };
    try {
      const { nonce } = await this.control.challenge(options);
      await this.control.renew(await renewals.prove(nonce), options);
      this.#shown = count;
    } catch (thrown) {
      const error = toCaissonError(thrown);
      // An older control plane, or one that will not take this token at any time.
      const settled = isCaissonError(error, "unsupported", "unauthorized", "forbidden");
      if (settled) this.#shown = count;
      if (!this.#ended.signal.aborted)
        log("warn", "a link was not renewed", { control_plane: where, outcome: error.code, reason: error.message, again: !settled });
    }
  }

  /** One heartbeat; whether the control plane wants all of it at once. */
  async #beat(full: boolean): Promise<boolean> {
    const { heartbeat, answered, clock, log, heartbeatMs, where } = this.#options;
    const number = (this.#begun += 1);
    const said = await heartbeat(full);
    const askedAt = clock.monotonic();
    try {
      const reply = await this.control.heartbeat(said, { deadlineMs: Math.max(heartbeatMs, ANSWER_MS), signal: this.#ended.signal });
      this.#answered = number;
      answered(reply, askedAt);
      this.#heard.resolve();
      this.#answer.wake();
      // What was not known yet cannot be asked for again and again: the next news brings it.
      return reply.send_providers && !full && said.providers_digest !== "";
    } catch (thrown) {
      const error = toCaissonError(thrown);
      // It is this worker's credential that is refused: a fresh link shows another one, or fails for good.
      if (error.code === "unauthorized" || error.code === "forbidden") throw error;
      if (!this.#ended.signal.aborted)
        log("warn", "a heartbeat was not answered", { control_plane: where, outcome: error.code, reason: error.message });
      return false;
    }
  }
}
