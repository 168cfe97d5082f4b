import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ROOT = new URL("../..", import.meta.url).pathname;
const CLI = join(ROOT, "packages/cli/bin/caisson.mjs");

/** A real `caisson serve` process with a data folder of its own. */
export class TestServer {
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  #child: ChildProcess | undefined;
  #output = "";
  url = "";
  apiKey = "";
  adminKey = "";

  private constructor(dataDir: string, env: Readonly<Record<string, string>>) {
    this.dataDir = dataDir;
    this.#env = env;
  }

  /** Starts a server on a free port; `env` overrides configuration (`CAISSON_…`). */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<TestServer> {
    const server = new TestServer(await mkdtemp(join(tmpdir(), "caisson-test-")), env);
    try {
      await server.up();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** The server's process id. */
  get pid(): number {
    return this.#child?.pid ?? -1;
  }

  /** What the server wrote so far. */
  get output(): string {
    return this.#output;
  }

  /** Variables with which the CLI finds this server. */
  get cliEnv(): Record<string, string> {
    return { ...(process.env as Record<string, string>), CAISSON_DATA_DIR: this.dataDir, ...this.#env };
  }

  /** Any free port at first; a server that comes back has the one it had. */
  get #port(): string {
    return this.url === "" ? "0" : new URL(this.url).port;
  }

  /** Starts the process (again) and waits until it is ready. */
  async up(): Promise<void> {
    this.#child = spawn(process.execPath, [CLI, "serve"], {
      env: { ...this.cliEnv, CAISSON_SERVER__PORT: this.#port, CAISSON_LOGGING__FORMAT: "json" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const child = this.#child;
    this.#output = "";
    this.url = await new Promise<string>((resolve, reject) => {
      const fail = (why: string): void => reject(new Error(`${why}:\n${this.#output}`));
      const timer = setTimeout(() => fail("serve was not up within 60 s"), 60_000);
      child.once("exit", () => fail("serve ended early"));
      for (const stream of [child.stdout, child.stderr]) {
        stream?.on("data", (chunk: Buffer) => {
          this.#output = (this.#output + chunk.toString()).slice(-262_144);
          const url = /^Caisson is up at (\S+)/m.exec(this.#output)?.[1];
          if (url === undefined) return;
          clearTimeout(timer);
          resolve(url);
        });
      }
    });
    const ready = await fetch(`${this.url}/ready`);
    if (!ready.ok) throw new Error(`serve is up but not ready: ${await ready.text()}`);
    const keys = JSON.parse(await readFile(join(this.dataDir, "credentials.json"), "utf8")) as { api_key: string; admin_api_key: string };
    this.apiKey = keys.api_key;
    this.adminKey = keys.admin_api_key;
  }

  /** Kills the process with SIGKILL and waits until it is gone. */
  async kill9(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Asks the process to end and waits until it is gone. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }

  /** One request with the API key; JSON in, the response out. */
  async fetch(
    method: string,
    path: string,
    body?: unknown,
    init: { signal?: AbortSignal; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    return fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { "x-api-key": this.apiKey, ...(body === undefined ? {} : { "content-type": "application/json" }), ...init.headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(init.signal === undefined ? {} : { signal: init.signal }),
    });
  }

  /** One request whose JSON answer is wanted; throws with the body when it failed. */
  async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await this.fetch(method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** Destroys what lives, stops the server and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      const page = await this.json<{ items: { id: string }[] }>("GET", "/sandboxes?limit=1000");
      await Promise.all(page.items.map((sandbox) => this.fetch("DELETE", `/sandboxes/${sandbox.id}`)));
    } catch {
      // the server may be down already: its data folder goes either way
    }
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
