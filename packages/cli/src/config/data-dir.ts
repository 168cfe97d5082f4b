import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Config } from "@caisson/contract";

/** The folder for everything kept: configured, else `/var/lib/caisson` for root and `~/.local/share/caisson` for others. */
export function resolveDataDir(config: Pick<Config, "data_dir">): string {
  if (config.data_dir !== undefined) {
    return config.data_dir.startsWith("~/") ? join(homedir(), config.data_dir.slice(2)) : resolve(config.data_dir);
  }
  return process.getuid?.() === 0 ? "/var/lib/caisson" : join(homedir(), ".local", "share", "caisson");
}

/** The database file. */
export function resolveDatabasePath(config: Pick<Config, "data_dir" | "database">): string {
  return resolve(resolveDataDir(config), config.database.path ?? "caisson.db");
}

/**
 * Folder of what this machine keeps as a worker of a server elsewhere: one of its own below the data folder, so that a server
 * and a worker on one machine need no settings to live beside each other.
 */
export function resolveWorkerDir(config: Pick<Config, "data_dir">): string {
  return join(resolveDataDir(config), "joined");
}
