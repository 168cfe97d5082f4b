import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { SandboxPage, WorkerPage } from "@caisson/contract";
import { freePort } from "@caisson/testkit";
import { TestPostgres } from "../../tests/harness/postgres.ts";
import { TestServer } from "../../tests/harness/server.ts";
import { ONLY_MOCK, SHARED_TOKEN } from "../../tests/harness/worker.ts";
import { cpuMs } from "../measure.ts";
import type { MockWorkers } from "./mock-workers.ts";

/** How many control planes, unless BENCH_CONTROL_PLANES says it. */
const CONTROL_PLANES = Number(process.env.BENCH_CONTROL_PLANES ?? 2);
const WORKERS = 50;
const UP_MS = 120_000;
const API_KEY = "bench-api-key-0123456789";

/** Several control planes on one PostgreSQL, and mock workers that are linked to each. */
export class Installation implements AsyncDisposable {
  readonly workers = WORKERS;
  readonly apiKey = API_KEY;
  readonly servers: readonly [TestServer, ...TestServer[]];
  readonly #postgres: TestPostgres;
  readonly #workerProcess: ChildProcess;
  readonly #opened: AsyncDisposableStack;

  private constructor(
    servers: readonly [TestServer, ...TestServer[]],
    postgres: TestPostgres,
    workerProcess: ChildProcess,
    opened: AsyncDisposableStack,
  ) {
    this.servers = servers;
    this.#postgres = postgres;
    this.#workerProcess = workerProcess;
    this.#opened = opened;
  }

  static async start(): Promise<Installation> {
    await using opening = new AsyncDisposableStack();
    const dir = await mkdtemp(join(tmpdir(), "caisson-bench-"));
    opening.defer(() => rm(dir, { recursive: true, force: true }));
    // What was acknowledged is on the disk, as it is where it counts.
    const postgres = opening.use(await TestPostgres.start({ fsync: "on" }));
    const env = {
      ...ONLY_MOCK,
      ...SHARED_TOKEN,
      CAISSON_DATABASE__DRIVER: "postgres",
      CAISSON_DATABASE__DSN: postgres.makeDatabase(),
      CAISSON_AUTH__API_KEY: API_KEY,
      CAISSON_AUTH__ADMIN_API_KEY: "bench-admin-key-0123456789",
      CAISSON_LOGGING__LEVEL: "warn",
    };
    // Control planes name each other to workers, so each must know its port before it listens.
    const start = async (): Promise<TestServer> =>
      opening.use(await TestServer.start({ ...env, CAISSON_SERVER__PORT: String(await freePort()) }));
    const first = await start();
    const others: TestServer[] = [];
    while (others.length < CONTROL_PLANES - 1) others.push(await start());
    const given: MockWorkers = { count: WORKERS, url: first.url, token: SHARED_TOKEN["CAISSON_AUTH__WORKER_TOKEN"] ?? "", dir };
    const workers = spawn(
      process.execPath,
      ["--conditions=@caisson/source", join(import.meta.dirname, "mock-workers.ts"), JSON.stringify(given)],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    opening.defer(async () => {
      const gone = once(workers, "exit");
      if (workers.exitCode === null && workers.kill("SIGTERM")) await gone;
    });
    const installation = new Installation([first, ...others], postgres, workers, opening.move());
    try {
      for (const server of installation.servers) await installation.#online(server);
      return installation;
    } catch (error) {
      await installation[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** CPU time so far, in ms: of the control planes, of all workers, of the database. */
  cpu(): { readonly servers: number; readonly workers: number; readonly database: number } {
    return {
      servers: this.servers.reduce((sum, server) => sum + cpuMs(server.pid), 0),
      workers: cpuMs(this.#workerProcess.pid ?? -1),
      database: treeCpuMs(postmasterOf(this.#postgres)),
    };
  }

  /** Transactions that the database has committed, as far as it has counted them: a second ago. */
  transactions(): number {
    return Number(this.#postgres.sql("select sum(xact_commit) from pg_stat_database"));
  }

  async countSandboxes(): Promise<number> {
    let count = 0;
    let cursor: string | null = "";
    while (cursor !== null) {
      const page: SandboxPage = await this.servers[0].json(
        "GET",
        `/sandboxes?limit=1000${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`,
      );
      count += page.items.length;
      cursor = page.next_cursor;
    }
    return count;
  }

  /** Waits until a control plane takes sandboxes for all workers. */
  async #online(server: TestServer): Promise<void> {
    const deadline = Date.now() + UP_MS;
    for (;;) {
      const { items } = await server.json<WorkerPage>("GET", "/workers?state=online&limit=1000");
      if (items.length >= WORKERS) return;
      if (Date.now() > deadline || this.#workerProcess.exitCode !== null)
        throw new Error(`${items.length} of ${WORKERS} workers are online\n${server.output}`);
      await sleep(200);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

/** Process id of a PostgreSQL's first process. */
function postmasterOf(postgres: TestPostgres): number {
  return Number(readFileSync(join(postgres.folder, "data", "postmaster.pid"), "utf8").split("\n", 1)[0]);
}

/** CPU time of a process and its children, in ms. */
function treeCpuMs(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
  return [pid, ...children].reduce((sum, one) => sum + cpuMs(one), 0);
}
