import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configSchema, systemClock, systemRandom } from "@caisson/contract";
import { ConnectedHosts, controlDefaults, Orchestrator, SteadyClock, WorkerImages } from "@caisson/control";
import { GuestClient } from "@caisson/guest";
import { hashSecret } from "@caisson/identity";
import { MockMachine, MockProvider } from "@caisson/providers";
import { openSqlite } from "@caisson/store";
import { ImageStore, LocalHost } from "@caisson/worker";
import { pino } from "pino";
import { createKeyVerifier } from "../auth/key-verifier.ts";
import { createServer } from "../create-server.ts";
import { MemoryWorkers } from "./memory-workers.ts";
import { API_KEY, ADMIN_KEY, testTokens } from "./test-server.ts";

/** A server over everything that is real, down to a worker whose provider is the mock. */
export interface RealServer extends AsyncDisposable {
  readonly url: string;
  call(method: string, path: string, json?: unknown): Promise<Response>;
}

export async function startRealServer(): Promise<RealServer> {
  await using opening = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), "caisson-server-"));
  opening.defer(() => rm(dataDir, { recursive: true, force: true }));
  const config = configSchema.parse({ providers: { default: "mock", mock: { enabled: true } } });
  const clock = new SteadyClock(systemClock);
  const logger = pino({ level: "silent" });
  const log = (): void => undefined;
  const store = opening.use(await openSqlite({ path: join(dataDir, "caisson.db"), clock }));
  const images = new ImageStore({ dir: join(dataDir, "images"), clock: systemClock, log });
  await images.open();
  const providers = [new MockProvider(new MockMachine(systemClock), { clock: systemClock, log })];
  const host = new LocalHost({ workerId: "local", dataDir, providers, images, clock: systemClock, random: systemRandom, log });
  opening.defer(() => host.close());
  await host.open();
  const hosts = new ConnectedHosts();
  const orchestrator = new Orchestrator({
    clock,
    random: systemRandom,
    store,
    hosts,
    defaults: controlDefaults(config),
    logger,
    guestOf: (opener) => new GuestClient(opener),
  });
  opening.defer(() => orchestrator.close());
  orchestrator.attach(host);
  await orchestrator.start();
  const server = await createServer({
    operations: orchestrator,
    images: new WorkerImages({ hosts, store, clock: systemClock, logger }),
    workers: new MemoryWorkers(),
    keys: createKeyVerifier([
      { role: "api", name: "api", sha256: hashSecret(API_KEY) },
      { role: "admin", name: "admin", sha256: hashSecret(ADMIN_KEY) },
    ]),
    tokens: await testTokens(),
    version: "0.1.0",
    corsAllowedOrigins: [],
    previews: { domain: "localhost" },
    execTimeoutMs: 0,
    maxExecTimeoutMs: 0,
    logger,
    clock: systemClock,
    random: systemRandom,
  });
  opening.defer(() => server.close());
  const url = await server.listen({ host: "127.0.0.1", port: 0 });
  const opened = opening.move();
  return {
    url,
    call: (method, path, json) =>
      fetch(`${url}/api/v1${path}`, {
        method,
        headers: { "x-api-key": API_KEY, ...(json === undefined ? {} : { "content-type": "application/json" }) },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
