import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, DEFAULT_CONTROL_PLANE_URL, systemClock, systemRandom, type Config } from "@caisson/contract";
import {
  IdentityFiles,
  KnownControlPlanes,
  RegisteredSource,
  TokenSource,
  type JoinedIdentity,
  type RegisteredSourceOptions,
  type WorkerCredentialSource,
} from "@caisson/worker";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { readTokenFile } from "../serve/worker-tokens.ts";
import { workerIdOf } from "./worker-id.ts";

/** How a worker shows who it is, and what it knows of its control planes. */
export interface WorkerCredentials extends Disposable {
  readonly workerId: string;
  readonly source: WorkerCredentialSource;
  readonly known: KnownControlPlanes;
  /** The control plane to begin with. */
  readonly controlPlaneUrl: string;
  /** What it joined with; undefined for one with a token of the configuration. */
  readonly joined: JoinedIdentity | undefined;
}

/** What opening the credentials needs. */
export interface CredentialsOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly log: RegisteredSourceOptions["log"];
  /** Other control planes that may renew the credentials. */
  readonly urls?: () => readonly string[];
}

/** The control plane to begin with: the one it joined at, unless the configuration names one. */
export function controlPlaneUrlOf({ control_plane_url: configured }: Config["worker"], joined: JoinedIdentity | undefined): string {
  return joined !== undefined && configured === DEFAULT_CONTROL_PLANE_URL ? joined.control_plane_url : configured;
}

/** The folder of this worker's identity; made when it is not there. */
export function identityDir(dataDir: string): string {
  const dir = join(dataDir, "worker", "identity");
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** The credential of this worker: what it joined with, else a token of the configuration. */
export async function openWorkerCredentials({ config, dataDir, log, urls = () => [] }: CredentialsOptions): Promise<WorkerCredentials> {
  const dir = identityDir(dataDir);
  const caCertificates = trustedCertificates("worker.ca_file", config.worker.ca_file);
  const joined = await new IdentityFiles(dir).joined();
  const workerId = joined === undefined ? workerIdOf(config.worker) : joinedId(config, joined);
  const known = await KnownControlPlanes.open({ dir, workerId, clock: systemClock, random: systemRandom });
  const controlPlaneUrl = controlPlaneUrlOf(config.worker, joined);
  if (joined !== undefined) {
    const asked = (): readonly string[] => [controlPlaneUrl, ...urls()];
    const source = await RegisteredSource.open({ dir, identity: joined, known, caCertificates, urls: asked, clock: systemClock, log });
    return { workerId, source, known, controlPlaneUrl, joined, [Symbol.dispose]: () => source[Symbol.dispose]() };
  }
  const readToken = tokenReader(config.auth, workerId);
  // Told now, not at the first connection.
  await readToken();
  const source = new TokenSource({ workerId, readToken, known, caCertificates });
  return { workerId, source, known, controlPlaneUrl, joined, [Symbol.dispose]: () => undefined };
}

function joinedId(config: Config, { credentials }: JoinedIdentity): string {
  const { worker_id: id } = credentials;
  if (config.worker.id === undefined || config.worker.id === id) return id;
  throw new CaissonError("invalid_request", `worker.id is ${config.worker.id}, but this machine joined as ${id}.`, {
    detail: { remedy: "Leave worker.id out, or join again under the other name." },
  });
}

/** Reads the token anew for every connection, where it is in a file. */
function tokenReader(auth: Config["auth"], workerId: string): () => Promise<string> {
  const { worker_token: token, worker_token_file: file, worker_tokens: own } = auth;
  const fixed = own[workerId] ?? token;
  if (fixed !== undefined) return () => Promise.resolve(fixed);
  if (file !== undefined) return () => readTokenFile(file);
  throw new CaissonError("unauthorized", "This worker has no credential.", {
    detail: { remedy: "Join with `caisson worker join URL --token-file -`, or set auth.worker_token (CAISSON_AUTH__WORKER_TOKEN)." },
  });
}
