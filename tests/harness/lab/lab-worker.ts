import { execFile } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { promisify } from "node:util";
import { ServiceProcess } from "../service-process.ts";

const CLI = new URL("../../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

/** How a worker of the lab is run. */
export interface LabWorkerPlace {
  readonly prefix: readonly string[];
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A `caisson worker` on a node of the lab. */
export class LabWorker {
  readonly id: string;
  readonly dataDir: string;
  readonly #place: LabWorkerPlace;
  readonly #process: ServiceProcess;

  constructor(id: string, place: LabWorkerPlace) {
    const { prefix, dataDir, env } = place;
    this.id = id;
    this.#place = place;
    this.dataDir = dataDir;
    this.#process = new ServiceProcess(
      () => [...prefix, process.execPath, CLI, "worker"],
      () => ({ ...process.env, CAISSON_DATA_DIR: dataDir, CAISSON_LOGGING__FORMAT: "json", ...env }),
      /^Caisson worker \S+ is up/m,
    );
  }

  /** Joins with a one-time token, for its first start. */
  async join(url: string, token: string): Promise<void> {
    await mkdir(this.dataDir, { recursive: true });
    const { prefix, env } = this.#place;
    const [program, ...args] = [...prefix, process.execPath, CLI, "worker", "join", url, "--token", token, "--no-start"];
    await promisify(execFile)(program, args, { env: { ...process.env, CAISSON_DATA_DIR: this.dataDir, ...env }, timeout: 120_000 });
  }

  get pid(): number {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.running;
  }

  get output(): string {
    return this.#process.output;
  }

  /** Starts it (again) and waits until it is up. */
  async up(): Promise<void> {
    await mkdir(this.dataDir, { recursive: true });
    await this.#process.start();
  }

  async kill9(): Promise<void> {
    await this.#process.end("SIGKILL");
  }

  /** Asks it to end, and waits. */
  async stop(): Promise<void> {
    await this.#process.end("SIGTERM");
  }
}
