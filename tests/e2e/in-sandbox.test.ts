import { afterAll, beforeAll, describe } from "vitest";
import { TestServer } from "../harness/server.ts";
import { describeSandboxSuite } from "../sandbox-suite/sandbox-suite.ts";
import { SandboxTarget } from "../sandbox-suite/sandbox-target.ts";

describe("a sandbox of the worker inside a server", () => {
  let server: TestServer;
  let target: SandboxTarget;
  beforeAll(async () => {
    server = await TestServer.start();
    target = new SandboxTarget(server, {
      request: {},
      workerDir: server.workerDir,
      // A worker of its own shows no ports where it is not told to: the server does.
      previewDomain: server.workerDir === server.dataDir ? "localhost" : null,
      traces: () => ({ output: server.output, folders: [server.dataDir, server.workerDir] }),
    });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  describeSandboxSuite(() => target);
});
