import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CaissonError } from "@caisson/contract";
import { writePrivateFile } from "./write-file.ts";

/** Remembers that what the embedded database says is no longer so. */
export function markMoved(dataDir: string, now: number): void {
  writePrivateFile(fileOf(dataDir), `${JSON.stringify({ moved_at: new Date(now).toISOString() })}\n`);
}

/** Refuses an embedded database that was moved: two servers would each decide about the same sandboxes. */
export function refuseMoved(dataDir: string): void {
  const file = fileOf(dataDir);
  if (!existsSync(file)) return;
  const { moved_at: at } = JSON.parse(readFileSync(file, "utf8")) as { moved_at?: string };
  throw new CaissonError("state_conflict", `The database of this data folder was moved to PostgreSQL at ${at ?? "some time"}.`, {
    detail: { remedy: `Set database.driver to postgres; to go back to what it was then, and forget all since, remove ${file}.` },
  });
}

function fileOf(dataDir: string): string {
  return join(dataDir, "moved.json");
}
