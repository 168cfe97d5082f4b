import { join } from "node:path";
import process from "node:process";
import { configSchema } from "@caisson/contract";
import { pino } from "pino";
import { openWorker } from "@caisson/cli";

/** What the process is to be; it gets it as JSON in its first argument. */
export interface MockWorkers {
  readonly count: number;
  /** A control plane to begin with. */
  readonly url: string;
  /** The shared token. */
  readonly token: string;
  /** Folder for all of them. */
  readonly dir: string;
}

/** Workers with the mock as their provider, all in one process: as many machines as one could not run. */
const { count, url, token, dir } = JSON.parse(process.argv[2] ?? "{}") as MockWorkers;
await using opened = new AsyncDisposableStack();
const ended = new Promise((resolve) => process.once("SIGTERM", resolve));
const logger = pino({ level: "warn" }, pino.destination(2));
for (let number = 1; number <= count; number += 1) {
  const id = `bench-${String(number).padStart(2, "0")}`;
  const config = configSchema.parse({
    data_dir: join(dir, id),
    worker: { id, control_plane_url: url, capacity: { vcpus: 64, memory_mb: 262_144, disk_mb: 1_048_576 } },
    auth: { worker_token: token },
    providers: { default: "mock", mock: { enabled: true }, oci: { enabled: false }, bubblewrap: { enabled: false } },
  });
  opened.use(await openWorker(config, logger, () => undefined));
}
process.stdout.write("up\n");
await ended;
