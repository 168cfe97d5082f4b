import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, systemClock, systemRandom, type Config } from "@caisson/contract";
import { KnownControlPlanes, TokenSource, type WorkerCredentialSource } from "@caisson/worker";

/** How a worker shows who it is, and what it knows of its control planes. */
export interface WorkerCredentials {
  readonly source: WorkerCredentialSource;
  readonly known: KnownControlPlanes;
}

/** The credential of this worker: a token of the configuration. */
export async function openWorkerCredentials(config: Config, workerId: string, dataDir: string): Promise<WorkerCredentials> {
  const dir = join(dataDir, "worker", "identity");
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const known = await KnownControlPlanes.open({ dir, workerId, clock: systemClock, random: systemRandom });
  const readToken = tokenReader(config.auth, workerId);
  if (readToken === undefined)
    throw new CaissonError("unauthorized", "This worker has no credential.", {
      detail: { remedy: "Join with `caisson worker join URL --token TOKEN`, or set auth.worker_token (CAISSON_AUTH__WORKER_TOKEN)." },
    });
  const ca = config.worker.ca_file === undefined ? [] : [readFileSync(config.worker.ca_file, "utf8")];
  const source = new TokenSource({ workerId, readToken, known, caCertificates: ca });
  // Told now, not at the first connection.
  await readToken();
  return { source, known };
}

/** Reads the token anew for every connection, where it is in a file. */
function tokenReader(auth: Config["auth"], workerId: string): (() => Promise<string>) | undefined {
  const { worker_token: token, worker_token_file: file, worker_tokens: own } = auth;
  const fixed = own[workerId] ?? token;
  if (fixed !== undefined) return async () => fixed;
  if (file === undefined) return undefined;
  return async () => {
    let text: string;
    try {
      text = readFileSync(file, "utf8").trim();
    } catch (cause) {
      throw new CaissonError("unauthorized", `The token cannot be read from ${file}.`, { cause });
    }
    if (text.length >= 16 && text.length <= 512) return text;
    throw new CaissonError("unauthorized", `${file} does not hold a token of 16 to 512 characters.`);
  };
}
