import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DATA_SCOPES, newId, systemClock, systemRandom, type PortAccessReply, type ProcessesChanged } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { publicKeySet, signAccess, SigningKeySet, type SandboxAccess } from "@caisson/identity";
import { MockMachine, MockProvider } from "@caisson/providers";
import { ImageStore, LocalHost } from "@caisson/worker";
import { pino } from "pino";
import { createWorkerServer, type WorkerServerOptions } from "../worker-server/create-worker-server.ts";
import { testSigningKey } from "./test-server.ts";

/** The HTTP side of a worker over everything that is real down to a provider that is the mock, and control planes that are not. */
export interface TestWorker extends AsyncDisposable {
  readonly url: string;
  readonly workerId: string;
  readonly host: LocalHost;
  /** The machine: what listens in its sandboxes. */
  readonly machine: MockMachine;
  /** What control planes were told. */
  readonly told: ProcessesChanged[];
  /** What control planes say of ports; undefined: none can be reached, for anything. */
  access: PortAccessReply["access"] | undefined;
  /** How often they were asked for that. */
  asked: number;
  /** Time of the control planes in ms. */
  now: () => number;
  /** Starts a sandbox and returns its id. */
  start(epoch?: number): Promise<string>;
  /** A token for a sandbox here. */
  token(sandboxId: string, overrides?: Partial<SandboxAccess>): Promise<string>;
  /** A request below /api/v1 with a bearer token. */
  call(method: string, path: string, token: string | undefined, json?: unknown): Promise<Response>;
}

export async function startTestWorker(workerId: string, overrides: Partial<WorkerServerOptions> = {}): Promise<TestWorker> {
  await using opening = new AsyncDisposableStack();
  const dataDir = await mkdtemp(join(tmpdir(), "caisson-worker-"));
  opening.defer(() => rm(dataDir, { recursive: true, force: true }));
  const log = (): void => undefined;
  const images = new ImageStore({ dir: join(dataDir, "images"), clock: systemClock, log });
  await images.open();
  const machine = new MockMachine(systemClock);
  const providers = [new MockProvider(machine, { clock: systemClock, log })];
  const host = new LocalHost({ workerId, dataDir, providers, images, clock: systemClock, random: systemRandom, log });
  opening.defer(() => host.close());
  await host.open();
  const key = await testSigningKey();
  const keys = new SigningKeySet(publicKeySet([key]));
  const lost = (): Promise<never> => Promise.reject(new Error("no control plane"));
  const server = await createWorkerServer({
    host,
    control: {
      processesChanged: async (changed) => (worker.access === undefined ? lost() : void worker.told.push(changed)),
      portAccess: async () => {
        worker.asked += 1;
        return worker.access === undefined ? lost() : { access: worker.access };
      },
    },
    guestOf: (opener) => new GuestClient(opener),
    publicKeys: () => keys,
    time: { now: () => worker.now() },
    version: "0.1.0",
    corsAllowedOrigins: [],
    execTimeoutMs: 0,
    maxExecTimeoutMs: 0,
    logger: pino({ level: "silent" }),
    clock: systemClock,
    random: systemRandom,
    ...overrides,
  });
  opening.defer(() => server.close());
  const url = await server.listen({ host: "127.0.0.1", port: 0 });
  const opened = opening.move();
  const worker: TestWorker = {
    url,
    workerId,
    host,
    machine,
    told: [],
    access: "private",
    asked: 0,
    now: Date.now,
    start: async (epoch = 1) => {
      const sandboxId = newId("sandbox", Date.now(), systemRandom);
      await host.start({ sandboxId, epoch, provider: "mock", image: "host", resources: {}, env: {}, network: "none" });
      return sandboxId;
    },
    token: (sandboxId, access = {}) =>
      signAccess(key, {
        workerId,
        sandboxId,
        epoch: 1,
        scopes: [...DATA_SCOPES],
        keyName: "api",
        expiresAt: Date.now() + 60_000,
        ...access,
      }),
    call: (method, path, token, json) =>
      fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(json === undefined ? {} : { "content-type": "application/json" }),
        },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      }),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
  return worker;
}
