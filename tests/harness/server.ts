import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@caisson/testkit";
import { ApiAccess } from "./api-access.ts";
import { ServiceProcess } from "./service-process.ts";
import { SHARED_TOKEN, TestWorker } from "./worker.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const CLI = join(ROOT, "packages/cli/bin/caisson.mjs");

/** Set to 1, every test server runs no sandboxes itself and has a worker process beside it: what works on one machine must work so. */
const REMOTE = process.env["CAISSON_TEST_REMOTE"] === "1";

/** Where a server runs, when not simply here. */
export interface ServerPlace {
  /** Words before its command line, such as those that have it run in a network namespace. */
  readonly prefix?: readonly string[];
  /** Its data folder. Default: a temporary one; either way it is removed at the end. */
  readonly dataDir?: string;
  /** Turns the address where it listens into one that this process can reach. */
  readonly reach?: (url: string) => Promise<string>;
  /** The `caisson` command it runs. Default: this checkout's. */
  readonly command?: string;
}

/** A real `caisson serve` process with a data folder of its own. */
export class TestServer extends ApiAccess implements AsyncDisposable {
  readonly dataDir: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #place: ServerPlace;
  readonly #process: ServiceProcess;
  #worker: TestWorker | undefined;
  #command = CLI;
  url = "";
  apiKey = "";
  adminKey = "";
  /** How long its last start took, in ms: how fast this machine is now. */
  upMs = 0;

  /** `port`: where it listens, also when it comes back. */
  private constructor(dataDir: string, port: number, env: Readonly<Record<string, string>>, place: ServerPlace) {
    super();
    this.dataDir = dataDir;
    this.#env = env;
    this.#place = place;
    this.#process = new ServiceProcess(
      () => [...(place.prefix ?? []), process.execPath, this.#command, "serve"],
      () => ({ CAISSON_SERVER__PORT: String(port), ...this.cliEnv, CAISSON_LOGGING__FORMAT: "json" }),
      /^Caisson is up at (\S+) /m,
    );
  }

  /** Starts a server on a free port; `env` overrides configuration (`CAISSON_…`). */
  static async start(env: Readonly<Record<string, string>> = {}, place: ServerPlace = {}): Promise<TestServer> {
    const given = REMOTE ? { ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off", ...env } : env;
    const dataDir = place.dataDir ?? (await mkdtemp(join(tmpdir(), "caisson-test-")));
    const server = new TestServer(dataDir, await freePort(), given, place);
    try {
      await server.up(place.command);
      if (REMOTE) server.#worker = await TestWorker.start(server, "worker-a", env);
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** The server's process id. */
  get pid(): number {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.running;
  }

  /** What the server wrote so far. */
  get output(): string {
    return this.#process.output;
  }

  /** The data folder of whoever runs its sandboxes: its own, or that of the worker beside it. */
  get workerDir(): string {
    return this.#worker?.dataDir ?? this.dataDir;
  }

  /** Variables with which the CLI finds this server. */
  get cliEnv(): Record<string, string> {
    return { ...(process.env as Record<string, string>), CAISSON_DATA_DIR: this.dataDir, ...this.#env };
  }

  /** Starts the process (again), as the `caisson` command that is named, and waits until it is ready. */
  async up(command: string = CLI): Promise<void> {
    this.#command = command;
    const begun = performance.now();
    const [, url = ""] = await this.#process.start();
    this.url = this.url === "" ? ((await this.#place.reach?.(url)) ?? url) : this.url;
    const ready = await fetch(`${this.url}/ready`);
    if (!ready.ok) throw new Error(`serve is up but not ready: ${await ready.text()}`);
    await this.#readKeys();
    this.upMs = performance.now() - begun;
  }

  /** Keys that the configuration gives, or those that the server made for itself. */
  async #readKeys(): Promise<void> {
    const { CAISSON_AUTH__API_KEY: apiKey, CAISSON_AUTH__ADMIN_API_KEY: adminKey } = this.#env;
    const given = apiKey !== undefined && adminKey !== undefined;
    const made = given ? "{}" : await readFile(join(this.dataDir, "credentials.json"), "utf8");
    const keys = JSON.parse(made) as { api_key: string; admin_api_key: string };
    this.apiKey = apiKey ?? keys.api_key;
    this.adminKey = adminKey ?? keys.admin_api_key;
  }

  /** Kills the process with SIGKILL and waits until it is gone. */
  async kill9(): Promise<void> {
    await this.#process.end("SIGKILL");
  }

  /** Asks the process to end and waits until it is gone. */
  async stop(): Promise<void> {
    await this.#process.end("SIGTERM");
  }

  /** Destroys what lives. */
  async destroyAll(): Promise<void> {
    const page = await this.json<{ items: { id: string }[] }>("GET", "/sandboxes?limit=1000");
    await Promise.all(page.items.map((sandbox) => this.fetch("DELETE", `/sandboxes/${sandbox.id}`)));
  }

  /** Destroys what lives, stops the server and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.destroyAll();
    } catch {
      // the server may be down already: its data folder goes either way
    }
    await this.#worker?.[Symbol.asyncDispose]();
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}
