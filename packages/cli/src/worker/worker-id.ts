import { hostname } from "node:os";
import { CaissonError, LOCAL_WORKER_ID, WORKER_ID_PATTERN, type Config } from "@caisson/contract";

/** Id of this worker: the configured one, else the machine's name. */
export function workerIdOf(config: Config["worker"]): string {
  const id = config.id ?? hostname().toLowerCase();
  const remedy = "Set worker.id (CAISSON_WORKER__ID) to 1 to 63 lower-case letters, digits, dots, dashes or underscores.";
  if (id === LOCAL_WORKER_ID)
    throw new CaissonError("invalid_request", "The id local is that of the worker inside a server.", { detail: { remedy } });
  if (WORKER_ID_PATTERN.test(id)) return id;
  throw new CaissonError("invalid_request", `The machine's name ${JSON.stringify(id)} cannot be the id of a worker.`, {
    detail: { remedy },
  });
}
