import type { FileChangeEvent } from "@caisson/contract";
import type { FileChange, WatchOutput } from "@caisson/guest";
import type { ServerSentEvent } from "../http/sse-stream.ts";

/** A place in a watch. */
export interface WatchPlace {
  readonly watchId: number;
  /** The last change that was told. */
  readonly seq: number;
}

/** Reads the id of an event; its form has been checked. */
export function readPlace(text: string): WatchPlace {
  const [watchId, seq] = text.split("-");
  return { watchId: Number(watchId), seq: Number(seq) };
}

/** The id of an event. */
export function placeText({ watchId, seq }: WatchPlace): string {
  return `${watchId}-${seq}`;
}

/** What a watch says, as server-sent events. */
export function toEvents(watchId: number, output: WatchOutput): ServerSentEvent[] {
  if (output.type === "gap") {
    const { from, to } = output;
    return [{ event: "gap", id: placeText({ watchId, seq: Math.max(from, to - 1) }), data: { from, to } }];
  }
  return output.changes.map((change) => {
    const id = placeText({ watchId, seq: change.seq });
    if (change.kind === "overflow") return { event: "overflow", id, data: { seq: change.seq } };
    return { event: "change", id, data: toChange(change, change.kind) };
  });
}

function toChange({ seq, path, directory, from }: FileChange, kind: FileChangeEvent["kind"]): FileChangeEvent {
  return { seq, kind, path, is_dir: directory, ...(from === null ? {} : { from }) };
}
