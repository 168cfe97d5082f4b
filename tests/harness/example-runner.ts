import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import type { ExampleAnswer } from "./example-child.ts";
import type { TestServer } from "./server.ts";

/** Longest that one example may take, in ms. */
const EXAMPLE_MS = 120_000;

/** Runs modules of examples in a process of their own, one after the other, against one server. */
export class ExampleRunner implements AsyncDisposable {
  readonly #server: TestServer;
  readonly #execPath: string;
  #child: ChildProcess | undefined;
  #output = "";

  /** `execPath`: the runtime. Default: this one. */
  constructor(server: TestServer, execPath: string = process.execPath) {
    this.#server = server;
    this.#execPath = execPath;
  }

  /** Runs one. What it wrote comes with its error. */
  async run(path: string): Promise<ExampleAnswer> {
    const child = (this.#child ??= this.#start());
    this.#output = "";
    child.send(path);
    const answer = await answerOf(child);
    if (answer === undefined) await this[Symbol.asyncDispose]();
    if (answer?.ok === true) return answer;
    return { ok: false, error: `${answer?.error ?? `ended, or was not done within ${EXAMPLE_MS} ms`}\n${this.#output}` };
  }

  #start(): ChildProcess {
    const child = fork(new URL("example-child.ts", import.meta.url), {
      execPath: this.#execPath,
      execArgv: ["--conditions=@caisson/source"],
      env: {
        ...process.env,
        CAISSON_URL: this.#server.url,
        CAISSON_API_KEY: this.#server.apiKey,
        CAISSON_ADMIN_API_KEY: this.#server.adminKey,
      },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-16_384)));
    return child;
  }

  /** Ends the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }
}

/** The child's answer; undefined when it ended, or took too long. */
async function answerOf(child: ChildProcess): Promise<ExampleAnswer | undefined> {
  const stop = new AbortController();
  const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(EXAMPLE_MS)]);
  try {
    return await Promise.race([
      once(child, "message", { signal }).then(([answer]) => answer as ExampleAnswer),
      once(child, "exit", { signal }).then(() => undefined),
    ]);
  } catch {
    return undefined; // the deadline
  } finally {
    stop.abort();
  }
}
