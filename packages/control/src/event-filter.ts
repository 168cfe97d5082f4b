import { CaissonError, eventTypesOf, type ListEventsQuery } from "@caisson/contract";
import type { EventFilter } from "@caisson/store";

/** The part of a query that says which events are wanted, as the store takes it. */
export function eventFilter({ type, sandbox_id: sandboxId }: Pick<ListEventsQuery, "type" | "sandbox_id">): EventFilter {
  const types = type === undefined ? undefined : eventTypesOf(type.split(","));
  if (type !== undefined && types === undefined) {
    const errors = [{ path: "type", message: "names no type of event" }];
    throw new CaissonError("invalid_request", `There are no events of type ${type.slice(0, 64)}.`, { errors });
  }
  return { ...(types === undefined ? {} : { types }), ...(sandboxId === undefined ? {} : { sandboxId }) };
}
