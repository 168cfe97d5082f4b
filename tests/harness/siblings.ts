import type { Sandbox } from "@caisson/contract";
import { freePort } from "@caisson/testkit";
import { expect, vi } from "vitest";
import { SandboxTarget } from "../sandbox-suite/sandbox-target.ts";
import { TestPostgres } from "./postgres.ts";
import { TestServer } from "./server.ts";
import { SHARED_TOKEN, TestWorker } from "./worker.ts";

/** An address where nothing is: a worker that is told of it finds no control plane there. */
const NOWHERE = "http://127.0.0.1:9";

/** Two control planes on one database, and a worker that can reach only one of them. */
export class SiblingPlanes implements AsyncDisposable {
  readonly #postgres: TestPostgres;
  /** The one that has a link with the worker. */
  readonly near: TestServer;
  /** The one that has none. */
  readonly far: TestServer;
  readonly worker: TestWorker;

  private constructor(postgres: TestPostgres, near: TestServer, far: TestServer, worker: TestWorker) {
    this.#postgres = postgres;
    this.near = near;
    this.far = far;
    this.worker = worker;
  }

  static async start(): Promise<SiblingPlanes> {
    await using opening = new AsyncDisposableStack();
    const postgres = opening.use(await TestPostgres.start());
    const database = { CAISSON_DATABASE__DRIVER: "postgres", CAISSON_DATABASE__DSN: postgres.makeDatabase() };
    const keys = { CAISSON_AUTH__API_KEY: "siblings-api-key-0123456789", CAISSON_AUTH__ADMIN_API_KEY: "siblings-admin-key-0123456789" };
    const env = { ...database, ...keys, ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off" };
    const near = opening.use(await TestServer.start({ ...env, CAISSON_SERVER__PORT: String(await freePort()) }));
    const far = opening.use(await TestServer.start({ ...env, CAISSON_SERVER__ADVERTISE_URL: NOWHERE }));
    const worker = opening.use(await TestWorker.start(near, "worker-a"));
    // A worker that has just come is known to all within a second.
    const { id } = await near.json<Sandbox>("POST", "/sandboxes", {});
    const started = new SiblingPlanes(postgres, near, far, worker);
    await started.untilPassedOn(id);
    await near.json("DELETE", `/sandboxes/${id}`);
    opening.move();
    return started;
  }

  /** Resolves when the one without a link has a command run in a sandbox. */
  async untilPassedOn(sandboxId: string): Promise<void> {
    const run = async (): Promise<void> =>
      expect((await this.far.fetch("POST", `/sandboxes/${sandboxId}/exec`, { command: "true" })).status).toBe(200);
    await vi.waitFor(run, { timeout: 60_000, interval: 50 });
  }

  /** What is done in sandboxes of the worker through the control plane that has no link with it. */
  get target(): SandboxTarget {
    return new FarTarget(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.near.destroyAll().catch(() => undefined); // it may be down
    await this.worker[Symbol.asyncDispose]();
    await this.far[Symbol.asyncDispose]();
    await this.near[Symbol.asyncDispose]();
    await this.#postgres[Symbol.asyncDispose]();
  }
}

/** Sandboxes are given to workers that the control plane has a link with; all else is asked of the other one. */
class FarTarget extends SandboxTarget {
  readonly #near: TestServer;

  constructor({ near, far, worker }: SiblingPlanes) {
    super(far, {
      request: {},
      workerDir: worker.dataDir,
      previewDomain: null,
      traces: () => ({ output: near.output + far.output + worker.output, folders: [near.dataDir, far.dataDir, worker.dataDir] }),
    });
    this.#near = near;
  }

  override createInfo(request: object = {}): Promise<Sandbox> {
    return this.#near.json<Sandbox>("POST", "/sandboxes", request);
  }
}
