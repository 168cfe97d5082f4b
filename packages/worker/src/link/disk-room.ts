import { join } from "node:path";
import { z } from "zod";
import { readIfThere, writeAtomic } from "../durable/atomic-file.ts";

const fileSchema = z.strictObject({ version: z.literal(1), disk_mb: z.int().min(0) });

/** What is known of a disk when a worker starts. */
export interface DiskNow {
  /** Folder whose disk sandboxes use. */
  readonly dataDir: string;
  /** MiB that are free. */
  readonly freeMb: number;
  /** How many sandboxes are here. */
  readonly boxes: number;
}

/**
 * MiB of disk for sandboxes: what is free while there are none. That is kept, because at a start with sandboxes it cannot be
 * seen: what they use is not free, and is promised to them already; it must not count twice. What others have freed since
 * counts, what they have taken does so when the last sandbox is gone. A file that is damaged counts as none.
 */
export async function diskRoom({ dataDir, freeMb, boxes }: DiskNow): Promise<number> {
  const file = join(dataDir, "worker", "disk-room.json");
  const kept = read(await readIfThere(file));
  const room = boxes === 0 ? freeMb : Math.max(freeMb, kept ?? 0);
  if (room !== kept) await writeAtomic(file, JSON.stringify({ version: 1, disk_mb: room } satisfies z.output<typeof fileSchema>));
  return room;
}

function read(text: string | undefined): number | undefined {
  try {
    return fileSchema.parse(JSON.parse(text ?? "")).disk_mb;
  } catch {
    return undefined;
  }
}
