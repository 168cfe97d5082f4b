import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, type Config, type Random } from "@caisson/contract";
import type { Store } from "@caisson/store";
import { writePrivateFile } from "./write-file.ts";

/** Id of the worker inside a server with a database of its own. */
export const LOCAL_WORKER = "local";

/**
 * Id of the worker inside this server; undefined when it runs none. With SQLite there is one, `local`. With PostgreSQL there
 * may be many servers: one that is to run sandboxes itself says so, and by which name.
 */
export function localWorkerId(config: Config): string | undefined {
  const { database, server, worker } = config;
  if (server.local_worker === "off") return undefined;
  if (database.driver === "sqlite") return LOCAL_WORKER;
  if (server.local_worker === "auto") return undefined;
  if (worker.id !== undefined) return worker.id;
  throw new CaissonError("invalid_request", "server.local_worker is on with PostgreSQL, but the worker has no worker.id.", {
    detail: {
      remedy: `Set worker.id to a name of its own; for an installation that was moved from SQLite with its sandboxes, to ${LOCAL_WORKER}.`,
    },
  });
}

/**
 * Binds the name of a worker inside a server to its data folder, where its sandboxes are known: another folder under that
 * name would take them for gone. The first to use a name has it. Throws `already_exists` for a name of another folder.
 */
export async function bindLocalWorker(store: Pick<Store, "clusterSecrets">, id: string, dataDir: string, random: Random): Promise<void> {
  const own = installationId(dataDir, random);
  const bound = await store.clusterSecrets.getOrMake(bindingOf(id), () => own);
  if (bound === own) return;
  throw new CaissonError("already_exists", `The worker ${id} belongs to a server with another data folder than ${dataDir}.`, {
    detail: { remedy: "Give this one a worker.id of its own, or the data folder of that one." },
  });
}

/** Name under which the database keeps whose a worker is. */
export function bindingOf(workerId: string): string {
  return `data folder of worker ${workerId}`;
}

/** A random name of a data folder, made at its first use. */
export function installationId(dataDir: string, random: Random): string {
  const file = join(dataDir, "installation.id");
  if (!existsSync(file)) writePrivateFile(file, `${Buffer.from(random.bytes(16)).toString("hex")}\n`);
  return readFileSync(file, "utf8").trim();
}
