import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CaissonError } from "@caisson/contract";
import { writePrivateFile } from "./write-file.ts";

/** Remembers that what the embedded database says is no longer so. */
export function markMoved(dataDir: string, now: number): void {
  writePrivateFile(fileOf(dataDir), `${JSON.stringify({ moved_at: new Date(now).toISOString() })}\n`);
}

/** An embedded database that was moved away. */
export interface MovedDatabase {
  /** When, as ISO 8601; undefined where that cannot be told. */
  readonly at: string | undefined;
  /** What to do, in one line. */
  readonly remedy: string;
}

/** Whether the embedded database of this folder was moved. */
export function movedDatabase(dataDir: string): MovedDatabase | undefined {
  const file = fileOf(dataDir);
  if (!existsSync(file)) return undefined;
  const { moved_at: at } = JSON.parse(readFileSync(file, "utf8")) as { moved_at?: string };
  return {
    at,
    remedy: `Set database.driver to postgres; to go back to what it was then, and forget all since, remove ${file}.`,
  };
}

/** Refuses an embedded database that was moved: two servers would each decide about the same sandboxes. */
export function refuseMoved(dataDir: string): void {
  const moved = movedDatabase(dataDir);
  if (moved === undefined) return;
  throw new CaissonError("state_conflict", `The database of this data folder was moved to PostgreSQL at ${moved.at ?? "some time"}.`, {
    detail: { remedy: moved.remedy },
  });
}

function fileOf(dataDir: string): string {
  return join(dataDir, "moved.json");
}
