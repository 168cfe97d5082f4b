import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "@caisson/contract";
import type { ApiAccess } from "./api-access.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const CLI = join(ROOT, "packages/cli/bin/caisson.mjs");
/** Longest that a worker may take to be online, in ms: one that is dialled waits for the rest after attempts that failed. */
const UP_MS = 180_000;

/** Token of all test workers: servers take it when `SHARED_TOKEN` is in their environment. */
const TOKEN = "test-worker-token-0123456789";
/** Configuration of a server that takes test workers. */
export const SHARED_TOKEN: Readonly<Record<string, string>> = { CAISSON_AUTH__WORKER_TOKEN: TOKEN };

/** Configuration of a machine whose only provider is the mock. */
export const ONLY_MOCK: Readonly<Record<string, string>> = {
  CAISSON_PROVIDERS__DEFAULT: "mock",
  CAISSON_PROVIDERS__MOCK__ENABLED: "true",
  CAISSON_PROVIDERS__OCI__ENABLED: "false",
  CAISSON_PROVIDERS__BUBBLEWRAP__ENABLED: "false",
};

/** A real `caisson worker` process with a data folder of its own, which joins with the shared token. */
export class TestWorker implements AsyncDisposable {
  readonly id: string;
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #server: ApiAccess;
  #child: ChildProcess | undefined;
  #output = "";

  private constructor(server: ApiAccess, id: string, dataDir: string, env: Readonly<Record<string, string>>) {
    this.#server = server;
    this.id = id;
    this.dataDir = dataDir;
    this.#env = env;
  }

  /** Starts a worker and waits until the server says that it is online. */
  static async start(server: ApiAccess, id: string, env: Readonly<Record<string, string>> = {}, command?: string): Promise<TestWorker> {
    const worker = new TestWorker(server, id, await mkdtemp(join(tmpdir(), "caisson-worker-")), env);
    try {
      await worker.up({}, command);
    } catch (error) {
      await worker[Symbol.asyncDispose]();
      throw error;
    }
    return worker;
  }

  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** What it wrote since it was last started. */
  get output(): string {
    return this.#output;
  }

  /** Starts the process (again) and waits until the server says that it is online; `env` and the `caisson` command are for this run. */
  async up(env: Readonly<Record<string, string>> = {}, command: string = CLI): Promise<void> {
    const child = spawn(process.execPath, [command, "worker"], {
      env: {
        ...process.env,
        CAISSON_DATA_DIR: this.dataDir,
        CAISSON_WORKER__ID: this.id,
        CAISSON_WORKER__CONTROL_PLANE_URL: this.#server.url,
        CAISSON_AUTH__WORKER_TOKEN: TOKEN,
        CAISSON_LOGGING__FORMAT: "json",
        ...this.#env,
        ...env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    this.#output = "";
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-262_144)));
    const deadline = Date.now() + UP_MS;
    while (!(await this.#isOnline())) {
      if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the worker ${this.id} is not online:\n${this.#output}`);
      await sleep(50); // there is no event of it before it is there
    }
  }

  /** Whether this run of it is online, and it is known what it can do: its providers are tried first. */
  async #isOnline(): Promise<boolean> {
    // The server may take it for online by the run before, and by a heartbeat whose answer it has yet to hear.
    if (!this.#output.includes("Connected to ")) return false;
    const response = await this.#server.fetch("GET", `/workers/${this.id}`);
    if (!response.ok) return false;
    const { state, providers } = (await response.json()) as Worker;
    return state === "online" && providers.length > 0;
  }

  /** Sends a signal that ends it and waits until it is gone and all that it wrote is here. */
  async end(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "close");
    child.kill(signal);
    await gone;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
