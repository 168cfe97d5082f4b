import { toCaissonError, type Clock, type Timer } from "@caisson/contract";
import type { logFunction } from "../serve/create-logger.ts";
import { askUrl, whyNoAnswer } from "./ask-url.ts";

/** Time from one look to the next, in ms: where the worker was found, and where it was not. */
const LOOK_MS = { found: 600_000, missed: 60_000 } as const;

/** What may be wrong with an address at which the worker was not found, and what need not be. */
export function publicUrlRemedy(url: string): string {
  const asked = new URL("/live", url).href;
  return `check worker.public_url, and that it leads to worker.listen_addr. It may be right all the same: many networks do not let a machine reach its own public address, so ask from where clients are: curl ${asked}. Clients that do not reach it go through a server`;
}

/** Where a worker says it is, and how to find out. */
export interface PublicUrl {
  /** `worker.public_url`. */
  readonly url: string;
  readonly workerId: string;
  /** Reads the certificates to trust besides the machine's, PEM. */
  readonly ca: () => readonly string[];
}

/** Looks whether it is this worker that answers at its public address: what is wrong, undefined when it does. Never rejects. */
export async function publicUrlProblem({ url, workerId, ca }: PublicUrl, stop?: AbortSignal): Promise<string | undefined> {
  try {
    const asked = new URL(`/api/v1/live?worker_id=${encodeURIComponent(workerId)}`, url);
    const { status, body } = await askUrl(asked, ca(), stop);
    if (status !== 200) return `something else answers, with HTTP status ${status}`;
    return namedIn(body) === workerId ? undefined : "something else answers, or another worker";
  } catch (error) {
    return `nothing answers: ${whyNoAnswer(error)}`;
  }
}

/** The worker that an answer is of; workers name themselves to who knows their id. */
function namedIn(body: string): unknown {
  try {
    return (JSON.parse(body) as { worker_id?: unknown } | null)?.worker_id;
  } catch {
    return undefined;
  }
}

/** What watching a public address needs. */
export interface PublicUrlWatchOptions extends PublicUrl {
  readonly clock: Clock;
  readonly log: ReturnType<typeof logFunction>;
}

/** Looks now and again whether a worker is found at its public address, and tells when that changes. It changes nothing else. */
export class PublicUrlWatch implements Disposable {
  readonly #options: PublicUrlWatchOptions;
  readonly #closing = new AbortController();
  #timer: Timer | undefined;
  #problem: string | undefined;

  /** Begins at once. */
  constructor(options: PublicUrlWatchOptions) {
    this.#options = options;
    this.#look();
  }

  /** What was wrong when it was last looked; undefined when nothing was, and at first. */
  get problem(): string | undefined {
    return this.#problem;
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
    this.#closing.abort();
  }

  #look(): void {
    const { clock, log } = this.#options;
    const { signal } = this.#closing;
    publicUrlProblem(this.#options, signal).then(
      (problem) => {
        if (signal.aborted) return;
        this.#tell(problem);
        this.#timer = clock.schedule(problem === undefined ? LOOK_MS.found : LOOK_MS.missed, () => this.#look());
      },
      (error: unknown) => log("error", "the public address could not be looked at", { error: toCaissonError(error).message }),
    );
  }

  #tell(problem: string | undefined): void {
    const { log, url } = this.#options;
    if (problem === this.#problem) return;
    this.#problem = problem;
    if (problem === undefined) log("info", "the worker is found at its public address again", { public_url: url });
    else
      log("warn", "the worker is not found at its public address from here", {
        public_url: url,
        reason: problem,
        remedy: publicUrlRemedy(url),
      });
  }
}
