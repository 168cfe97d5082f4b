import type { FileList } from "@caisson/contract";
import type { FileEntry } from "@caisson/guest";
import { PatientReader, type Patience } from "../http/patient-reader.ts";
import { toFileInfo } from "./file-view.ts";

/** Most characters of names in one listing: what a sandbox can make the server hold. */
export const MAX_LIST_TEXT = 33_554_432;

/** Gathers a listing up to a limit; what comes after it is not read. */
export async function collectEntries(source: AsyncIterable<FileEntry>, limit: number, patience: Patience): Promise<FileList> {
  using reader = new PatientReader(source, patience);
  const items: FileList["items"] = [];
  let text = 0;
  for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
    text += entry.path.length + entry.name.length + (entry.target?.length ?? 0);
    if (items.length === limit || text > MAX_LIST_TEXT) return { items, truncated: true };
    items.push(toFileInfo(entry));
  }
  return { items, truncated: false };
}
