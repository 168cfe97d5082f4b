import { CaissonError, SANDBOX_STATES, type ListSandboxesQuery, type SandboxState } from "@caisson/contract";
import type { SandboxFilter } from "@caisson/store";

/** Page size when none is given. */
const DEFAULT_LIMIT = 100;

/** The query of a list as the store understands it; `invalid_request` names what is wrong. */
export function listFilter(query: ListSandboxesQuery): SandboxFilter {
  return {
    states: states(query.state),
    metadata: metadata(query.metadata),
    ...(query.worker_id === undefined ? {} : { workerId: query.worker_id }),
    limit: query.limit ?? DEFAULT_LIMIT,
    ...(query.worker_id === undefined ? {} : { workerId: query.worker_id }),
    ...(query.cursor === undefined ? {} : { cursor: query.cursor }),
  };
}

function states(text: string | undefined): SandboxFilter["states"] {
  if (text === undefined) return "live";
  if (text === "all") return "all";
  return text.split(",").map((part): SandboxState => {
    const state = SANDBOX_STATES.find((known) => known === part.trim());
    if (state === undefined)
      throw invalid("state", `has no state named ${JSON.stringify(part)}; there are ${SANDBOX_STATES.join(", ")}, or all`);
    return state;
  });
}

function metadata(given: string | readonly string[] | undefined): Record<string, string> {
  const filter = new Map<string, string>();
  for (const pair of given === undefined ? [] : typeof given === "string" ? [given] : given) {
    const split = pair.indexOf("=");
    if (split <= 0) throw invalid("metadata", "must read key=value");
    const key = pair.slice(0, split);
    if (filter.has(key)) throw invalid("metadata", `names ${JSON.stringify(key)} twice`);
    filter.set(key, pair.slice(split + 1));
  }
  return Object.fromEntries(filter);
}

function invalid(path: string, message: string): CaissonError {
  return new CaissonError("invalid_request", `${path} ${message}.`, { errors: [{ path, message }] });
}
