import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom, type Clock } from "@caisson/contract";
import { fixedKeys, hashSecret, InstallationTokens, makeSigningKey, type SigningKey } from "@caisson/identity";
import { pino } from "pino";
import { createKeyVerifier } from "../auth/key-verifier.ts";
import { createServer } from "../create-server.ts";
import type { HttpServer } from "../http/serve-app.ts";
import type { ServerOptions } from "../server-options.ts";
import { localGuest } from "./local-guest.ts";
import { memoryImages } from "./memory-images.ts";
import { MemoryOperations } from "./memory-operations.ts";
import { MemoryWorkers } from "./memory-workers.ts";

export const API_KEY = "test-api-key-0123456789";
export const ADMIN_KEY = "test-admin-key-0123456789";

/** A server on a free port, over in-memory operations and real processes. */
export interface TestServer extends AsyncDisposable {
  readonly server: HttpServer;
  readonly url: string;
  readonly operations: MemoryOperations;
  readonly workers: MemoryWorkers;
  /** Folder that the guest shows as `/`. */
  readonly root: string;
  /** Lines that were logged. */
  readonly log: Record<string, unknown>[];
  /** A request below /api/v1 with the API key. */
  call(method: string, path: string, options?: CallOptions): Promise<Response>;
}

export interface CallOptions {
  readonly json?: unknown;
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

let signingKey: Promise<SigningKey> | undefined;

/** The key of all installations in tests. */
export function testSigningKey(): Promise<SigningKey> {
  return (signingKey ??= makeSigningKey(0));
}

/** Tokens signed with it. */
export async function testTokens(clock: Clock = systemClock): Promise<InstallationTokens> {
  return new InstallationTokens({ keys: fixedKeys([await testSigningKey()]), clock });
}

/** A test server that does not listen: requests are injected. */
export async function createTestServer(overrides: Partial<ServerOptions> = {}): Promise<Omit<TestServer, "url" | "call">> {
  const root = await mkdtemp(join(tmpdir(), "caisson-server-"));
  const guest = localGuest(root);
  const operations = new MemoryOperations(guest);
  const workers = new MemoryWorkers();
  const log: Record<string, unknown>[] = [];
  const server = await createServer({
    operations,
    images: memoryImages(),
    workers,
    keys: createKeyVerifier([
      { role: "api", name: "api", sha256: hashSecret(API_KEY) },
      { role: "admin", name: "admin", sha256: hashSecret(ADMIN_KEY) },
    ]),
    tokens: await testTokens(overrides.clock),
    version: "0.1.0",
    corsAllowedOrigins: [],
    previews: { domain: "localhost" },
    execTimeoutMs: 0,
    maxExecTimeoutMs: 0,
    logger: pino({ level: "debug" }, { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) }),
    clock: systemClock,
    random: systemRandom,
    ...overrides,
  });
  return {
    server,
    operations,
    workers,
    root,
    log,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await guest.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

export async function startTestServer(overrides: Partial<ServerOptions> = {}): Promise<TestServer> {
  const made = await createTestServer(overrides);
  const url = await made.server.listen({ host: "127.0.0.1", port: 0 });
  return {
    ...made,
    url,
    call: (method, path, { json, body, headers, signal } = {}) =>
      fetch(`${url}/api/v1${path}`, {
        method,
        headers: { "x-api-key": API_KEY, ...(json === undefined ? {} : { "content-type": "application/json" }), ...headers },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
        ...(body === undefined ? {} : { body, duplex: "half" }),
        ...(signal === undefined ? {} : { signal }),
      } as RequestInit),
  };
}
