import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { CaissonError } from "@caisson/contract";
import { readServerFile } from "../client/local-server.ts";

/** A data folder that this process alone serves. */
export interface DataDir extends Disposable {
  readonly path: string;
}

/**
 * Makes the data folder, for its owner only, and locks it against a second server. The system drops the lock when this
 * process ends, however it ends.
 */
export function openDataDir(path: string): DataDir {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const remedy = "Name another with data_dir in the configuration or CAISSON_DATA_DIR.";
    throw new CaissonError("internal", `The data folder ${path} cannot be used: ${code ?? String(cause)}.`, { cause, detail: { remedy } });
  }
  const lock = new DatabaseSync(join(path, "server.lock"));
  try {
    lock.exec("pragma locking_mode = exclusive; begin exclusive");
  } catch (cause) {
    lock.close();
    const other = readServerFile(path);
    const who = other === undefined ? "Another server or worker" : `The server with process id ${other.pid} at ${other.url}`;
    throw new CaissonError("already_exists", `${who} uses the data folder ${path}.`, {
      cause,
      detail: { remedy: "Use that one, stop it first, or give this one a data folder of its own (CAISSON_DATA_DIR)." },
    });
  }
  return { path, [Symbol.dispose]: () => lock.close() };
}
