import { setTimeout as sleep } from "node:timers/promises";
import { CaissonApiError, Sandbox } from "@caisson/sdk";
import type { ApiAccess } from "../api-access.ts";
import type { Ledger } from "./ledger.ts";

/** Pause before a stream that broke is taken up again, in ms. */
const AGAIN_MS = 200;

/** A process that says a number every so often, and a reader that wants each of them once, whatever breaks. */
export class FollowedStream {
  readonly sandboxId: string;
  readonly #api: ApiAccess;
  readonly #ledger: Ledger;
  readonly #stop = new AbortController();
  #processId = 0;
  #next = 0;
  #line = 0;
  #rest = "";
  #lastAt = performance.now();
  #longest = 0;
  #breaks = 0;
  #ended = false;
  #following: Promise<void> | undefined;

  private constructor(api: ApiAccess, sandboxId: string, ledger: Ledger) {
    this.#api = api;
    this.sandboxId = sandboxId;
    this.#ledger = ledger;
  }

  /** Starts the process in a sandbox, and the reader. */
  static async start(api: ApiAccess, sandboxId: string, ledger: Ledger): Promise<FollowedStream> {
    const stream = new FollowedStream(api, sandboxId, ledger);
    const sandbox = await Sandbox.connect(sandboxId, { client: api.client() });
    const program = "i=0; while [ ! -e /tmp/stop ]; do echo $i; i=$((i+1)); sleep 0.05; done";
    ({ process_id: stream.#processId } = await sandbox.commands.spawn(["sh", "-c", program]));
    stream.#following = stream.#follow();
    return stream;
  }

  /** Numbers that came, in order. */
  get lines(): number {
    return this.#line;
  }

  /** The longest time without a number, in ms, and how often the reader had to begin anew. */
  get figures(): { readonly longestMs: number; readonly breaks: number } {
    return { longestMs: Math.max(this.#longest, this.#ended ? 0 : performance.now() - this.#lastAt), breaks: this.#breaks };
  }

  /** Forgets the figures of what has been. */
  reset(): void {
    this.#longest = 0;
    this.#breaks = 0;
    this.#lastAt = performance.now();
  }

  /** Ends the process and reads to its end; the deadline is for what is still to come. */
  async finish(deadlineMs: number): Promise<void> {
    const sandbox = await Sandbox.connect(this.sandboxId, { client: this.#api.client() });
    await sandbox.commands.run("touch /tmp/stop", { check: true });
    const timer = setTimeout(() => this.#stop.abort(new Error("too late")), deadlineMs);
    await this.#following;
    clearTimeout(timer);
    if (!this.#ended) this.#ledger.violated(`the stream of ${this.sandboxId} did not end within ${deadlineMs} ms`);
    const { stdout } = await sandbox.processes.get(this.#processId);
    if (stdout.end !== this.#next) this.#ledger.violated(`the stream of ${this.sandboxId} ended at ${this.#next} of ${stdout.end}`);
  }

  /** Gives up reading. */
  async abort(): Promise<void> {
    this.#stop.abort(new Error("given up"));
    await this.#following;
  }

  async #follow(): Promise<void> {
    while (!this.#ended && !this.#stop.signal.aborted) {
      try {
        const sandbox = await Sandbox.connect(this.sandboxId, { client: this.#api.client() });
        const from = { stdout: this.#next };
        for await (const event of sandbox.processes.attach(this.#processId, { from, signal: this.#stop.signal })) {
          if (event.type === "output" && event.stream === "stdout") this.#take(event.offset, event.text);
          if (event.type === "gap") this.#ledger.violated(`bytes ${event.from} to ${event.to} of ${this.sandboxId} were lost`);
          if (event.type === "exit") this.#ended = true;
        }
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        this.#breaks += 1;
        const code = error instanceof CaissonApiError ? error.code : String(error);
        this.#ledger.refused("stream", code);
        if (error instanceof CaissonApiError && error.status === 404) {
          this.#ledger.violated(`the stream of ${this.sandboxId} is not known any more: ${code}`);
          return;
        }
        await sleep(AGAIN_MS);
      }
    }
  }

  #take(offset: number, text: string): void {
    if (offset !== this.#next) this.#ledger.violated(`${this.sandboxId} went on at ${offset} where ${this.#next} came next`);
    const now = performance.now();
    this.#longest = Math.max(this.#longest, now - this.#lastAt);
    this.#lastAt = now;
    this.#next = offset + text.length;
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (Number(line) !== this.#line) this.#ledger.violated(`${this.sandboxId} said ${line} where ${this.#line} comes`);
      this.#line += 1;
    }
  }
}
