import type { CreateSandbox } from "@caisson/contract";
import type { Command } from "commander";
import { checkDuration, collectEnv, collectPair, parseMebibytes, parseNumber, parseWhole } from "./parse-options.ts";

/** Options that make a sandbox. */
export interface SandboxOptions {
  readonly image?: string;
  readonly provider?: string;
  readonly runtime?: string;
  readonly memory?: number;
  readonly cpus?: number;
  readonly pids?: number;
  readonly disk?: number;
  readonly ttl?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly worker?: string;
  readonly workerLabel?: Readonly<Record<string, string>>;
  readonly tenant?: string;
}

/** Adds the options that make a sandbox. */
export function withSandboxOptions(command: Command): Command {
  return command
    .option("--image <name>", "image: host, an imported one, or an OCI reference")
    .option("--provider <name>", "provider: oci, bubblewrap, …")
    .option("--runtime <name>", "runtime of the provider: crun, runc, runsc")
    .option("--memory <size>", "memory limit, such as 512m or 2g", parseMebibytes)
    .option("--cpus <number>", "CPU limit in cores", parseNumber)
    .option("--pids <number>", "most processes and threads", parseWhole)
    .option("--disk <size>", "most it may write, such as 2g", parseMebibytes)
    .option("--ttl <duration>", "time to live, such as 30m", checkDuration)
    .option("-e, --env <name=value>", "environment variable; repeatable; NAME alone passes yours on", collectEnv)
    .option("-u, --user <user>", "user: a name, a uid, or uid:gid")
    .option("-w, --workdir <path>", "working directory")
    .option("--metadata <key=value>", "label; repeatable", collectPair)
    .option("--worker <worker>", "only this worker may take it")
    .option("--worker-label <key=value>", "only workers with this label may take it; repeatable", collectPair)
    .option("--tenant <tenant>", "tenant it belongs to; workers kept for another one do not take it");
}

/** The request that the options ask for. */
export function createRequest(options: SandboxOptions): CreateSandbox {
  return {
    ...(options.image === undefined ? {} : { image: options.image }),
    ...(options.provider === undefined ? {} : { provider: options.provider }),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.memory === undefined ? {} : { memory_mb: options.memory }),
    ...(options.cpus === undefined ? {} : { vcpus: options.cpus }),
    ...(options.pids === undefined ? {} : { pids: options.pids }),
    ...(options.disk === undefined ? {} : { disk_mb: options.disk }),
    ...(options.ttl === undefined ? {} : { ttl: options.ttl }),
    ...(options.env === undefined ? {} : { env: { ...options.env } }),
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.workdir === undefined ? {} : { workdir: options.workdir }),
    ...(options.metadata === undefined ? {} : { metadata: { ...options.metadata } }),
    ...(options.worker === undefined ? {} : { worker_id: options.worker }),
    ...(options.workerLabel === undefined ? {} : { worker_labels: { ...options.workerLabel } }),
    ...(options.tenant === undefined ? {} : { tenant_id: options.tenant }),
  };
}
