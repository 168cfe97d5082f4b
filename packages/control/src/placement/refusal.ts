import { CaissonError, type CreateSandbox } from "@caisson/contract";

/** A worker that cannot take a sandbox, and why. */
export interface Refused {
  readonly workerId: string;
  readonly error: CaissonError;
}

/** What to do when no worker is there for a sandbox. */
const REMEDY =
  "`caisson workers ls` shows how each worker is: wait for one, undrain one (`caisson workers undrain`), or add one (`caisson workers add`).";
/** Workers whose reasons are told. */
const MOST_TOLD = 20;

/**
 * The error for a request that no worker can take: the refusal that says most. One that only lacks room or cannot be reached
 * could take it later, which is more than what the others say; then a missing power of a provider that works, one that does not
 * work, and none of that name.
 */
export function refusalOf(request: CreateSandbox, refused: readonly Refused[], known: number): CaissonError {
  const workers = refused
    .slice(0, MOST_TOLD)
    .map(({ workerId, error }) => ({ worker_id: workerId, code: error.code, reason: error.message }));
  const asked = request.worker_id;
  if (asked !== undefined && !refused.some(({ workerId }) => workerId === asked)) {
    return new CaissonError("worker_not_found", `There is no worker ${asked}.`, { detail: { worker_id: asked } });
  }
  const best = refused.reduce<Refused | undefined>((a, b) => (a === undefined || rank(b) > rank(a) ? b : a), undefined);
  if (best === undefined) {
    const message = known === 0 ? "There is no worker." : "No worker can be reached.";
    return new CaissonError("worker_unavailable", message, { retryAfter: 5, detail: { workers, remedy: REMEDY } });
  }
  const { error, workerId } = best;
  if (error.code === "no_capacity") {
    return new CaissonError("no_capacity", `No worker has room for it. ${workerId}: ${error.message}`, {
      retryAfter: 5,
      detail: { workers },
    });
  }
  if (error.code === "worker_unavailable") {
    return new CaissonError("worker_unavailable", `No worker can take it now. ${workerId}: ${error.message}`, {
      retryAfter: 5,
      detail: { workers, remedy: REMEDY },
    });
  }
  return new CaissonError(error.code, error.message, {
    detail: { ...error.detail, workers },
    ...(error.errors === undefined ? {} : { errors: error.errors }),
    ...(error.retryAfter === undefined ? {} : { retryAfter: error.retryAfter }),
  });
}

function rank({ error }: Refused): number {
  if (error.code === "worker_unavailable") return error.detail?.["filtered"] === true ? 0 : 4;
  const ranks = { no_capacity: 5, unsupported: 3, provider_unavailable: 2, provider_not_found: 1 } as Partial<Record<string, number>>;
  return ranks[error.code] ?? 6;
}
