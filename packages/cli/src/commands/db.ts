import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { systemClock, systemRandom, type Config } from "@caisson/contract";
import type { Command } from "commander";
import { resolveDatabasePath, resolveDataDir } from "../config/data-dir.ts";
import { loadConfig } from "../config/load-config.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface CopyOptions extends CommonOptions {
  readonly to?: string;
  readonly toFile?: string;
}

/** `caisson db`: the database of a server on this machine, without the server. */
export function addDbCommand(program: Command, done: Done): void {
  const db = program.command("db").summary("look at the database, and move it to PostgreSQL").description("The database of a server.");
  leaf(db, "status", {
    serverless: true,
    description: "show which database is configured and what is in it; changes nothing",
    examples: ["caisson db status"],
  }).action(action(done, status));
  leaf(db, "copy", {
    serverless: true,
    description: "copy the embedded database to an empty PostgreSQL\nThe server must be stopped; its sandboxes run on meanwhile.",
    examples: ["caisson db copy --to postgres://caisson:secret@db.example.org/caisson", "caisson db copy --to-file /run/secrets/dsn"],
  })
    .option("--to <dsn>", "address of PostgreSQL (default: database.dsn of the configuration)")
    .option("--to-file <file>", "file that holds the address, so that nobody sees it among the processes")
    .action(action(done, copy));
}

async function status(options: CommonOptions): Promise<void> {
  const config = loadConfig({ path: options.config, env: process.env });
  const { postgresStatus, sqliteStatus } = await import("@caisson/store");
  const { databaseAddress } = await import("../serve/open-store.ts");
  const dsn = databaseAddress(config.database);
  const found = dsn === undefined ? sqliteStatus(resolveDatabasePath(config)) : await postgresStatus(dsn, systemClock);
  const { movedDatabase } = await import("../serve/moved-database.ts");
  const moved = dsn === undefined ? movedDatabase(resolveDataDir(config)) : undefined;
  if (options.json) return printJson({ ...found, moved: moved ?? null });
  print(`${found.driver} ${found.version ?? "(not made yet)"}  ${found.place}`);
  print(`  schema   ${found.schema ?? "none"}${found.pending.length === 0 ? "" : `; the next start adds ${found.pending.join(", ")}`}`);
  for (const [table, rows] of Object.entries(found.rows)) print(`  ${String(rows).padStart(8)}  ${table}`);
  if (moved === undefined) return;
  print(`It was moved to PostgreSQL at ${moved.at ?? "some time"}: what it says is of then, and no server uses it.`);
  print(`  ${moved.remedy}`);
}

async function copy(options: CopyOptions): Promise<void> {
  const config = loadConfig({ path: options.config, env: process.env });
  const { copyDatabase, openSqlite } = await import("@caisson/store");
  const { bindLocalWorker, LOCAL_WORKER } = await import("../serve/local-worker.ts");
  const { openDataDir } = await import("../serve/open-data-dir.ts");
  const { markMoved } = await import("../serve/moved-database.ts");
  const dsn = await targetOf(options, config.database);
  // Locked, so that no server uses it meanwhile; one that does is named.
  using dataDir = openDataDir(resolveDataDir(config));
  const path = resolveDatabasePath(config);
  {
    // Goes along, so that only this data folder serves the sandboxes that it has.
    await using store = await openSqlite({ path, clock: systemClock });
    await bindLocalWorker(store, LOCAL_WORKER, dataDir.path, systemRandom);
  }
  const { written, rows } = await copyDatabase({ path, dsn, clock: systemClock });
  markMoved(dataDir.path, systemClock.now());
  if (options.json) return printJson({ written, rows });
  const total = Object.values(rows).reduce((sum, count) => sum + count, 0);
  print(
    written ? `Copied ${total} rows of ${Object.keys(rows).length} tables.` : `All ${total} rows are there already; nothing was changed.`,
  );
  print("Start the server with this, and it goes on with its sandboxes:");
  print(`  database: {driver: postgres, ${options.toFile === undefined ? "dsn: …" : `dsn_file: ${resolve(options.toFile)}`}}`);
  print(`  server:   {local_worker: on}`);
  print(`  worker:   {id: ${LOCAL_WORKER}}`);
  print(`The embedded database stays at ${path}; ${join(dataDir.path, "moved.json")} keeps a server from using it by mistake.`);
}

async function targetOf(options: CopyOptions, database: Config["database"]): Promise<string> {
  if (options.to !== undefined && options.toFile !== undefined) throw usageError("--to and --to-file are both given.", "Leave one out.");
  if (options.to !== undefined) return options.to;
  if (options.toFile !== undefined) return fromFile(options.toFile);
  const { databaseAddress } = await import("../serve/open-store.ts");
  const configured = database.driver === "postgres" ? databaseAddress(database) : undefined;
  if (configured !== undefined) return configured;
  throw usageError("There is no address to copy to.", "Name it with --to or --to-file.");
}

function fromFile(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw usageError(`${path} cannot be read: ${code ?? message}.`, "Name a file that holds the address.");
  }
}
