import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

/** Most of what a service wrote that is kept, in characters. */
const KEPT = 1_048_576;
const UP_MS = 120_000;

/** A program that says when it is up, and runs until it is told to end; it can be started again. */
export class ServiceProcess {
  readonly #words: () => readonly string[];
  readonly #env: () => Readonly<Record<string, string | undefined>>;
  readonly #up: RegExp;
  #child: ChildProcess | undefined;
  #output = "";

  /** The words of its command line and its environment at each start, and the line that says it is up. */
  constructor(words: () => readonly string[], env: () => Readonly<Record<string, string | undefined>>, up: RegExp) {
    this.#words = words;
    this.#env = env;
    this.#up = up;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** What it wrote since it was last started. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it and waits for its line, which is returned as it matched. */
  async start(): Promise<RegExpExecArray> {
    const [program = "", ...args] = this.#words();
    const child = spawn(program, args, { env: this.#env(), stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    this.#output = "";
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`${args.at(-1)} ${why}:\n${this.#output}`));
      const timer = setTimeout(() => fail(`was not up within ${UP_MS} ms`), UP_MS);
      child.once("error", (error) => fail(error.message));
      // Not at its exit: its last words may be on their way then.
      child.once("close", () => {
        clearTimeout(timer);
        fail("ended early");
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.on("data", (chunk: Buffer) => {
          this.#output = (this.#output + chunk.toString()).slice(-KEPT);
          const line = this.#up.exec(this.#output);
          if (line === null) return;
          clearTimeout(timer);
          resolve(line);
        });
      }
    });
  }

  /** Sends a signal that does not end it, such as STOP. */
  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Sends a signal that ends it and waits until it is gone and all that it wrote is here. */
  async end(name: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = once(child, "close");
    child.kill(name);
    await gone;
  }
}
