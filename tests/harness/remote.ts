import { TestServer } from "./server.ts";
import { SHARED_TOKEN, TestWorker } from "./worker.ts";

/** A server that runs no sandboxes itself, and one worker process that does: what works on one machine must work here. */
export class TestFleet implements AsyncDisposable {
  readonly server: TestServer;
  readonly worker: TestWorker;

  private constructor(server: TestServer, worker: TestWorker) {
    this.server = server;
    this.worker = worker;
  }

  /** `env` is for both, and overrides configuration (`CAISSON_…`). */
  static async start(env: Readonly<Record<string, string>> = {}): Promise<TestFleet> {
    const server = await TestServer.start({ ...SHARED_TOKEN, CAISSON_SERVER__LOCAL_WORKER: "off", ...env });
    try {
      return new TestFleet(server, await TestWorker.start(server, "worker-a", env));
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Destroys what lives, ends both and removes their folders. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.server.destroyAll();
    } finally {
      await this.worker[Symbol.asyncDispose]();
      await this.server[Symbol.asyncDispose]();
    }
  }
}
