import { isCaissonError, type CreateSandbox, type Random } from "@caisson/contract";
import { amountsOf, type SandboxRecord } from "@caisson/store";
import type { ControlDefaults } from "../control-defaults.ts";
import type { ExpectedWorkers } from "../expected-workers.ts";
import type { WorkerDirectory } from "../workers/worker-directory.ts";
import { place, type Placed, type PlacementSettings } from "./place.ts";
import type { Refused } from "./refusal.ts";

/** Age of what is known from which it is looked at again before a request is refused, in ms. */
const OLD_MS = 50;

/** Time that a worker in this process has to find out what it can do, while a request waits for it, in ms. */
const ARRIVAL_MS = 10_000;

/** What a placer needs. */
export interface PlacerOptions {
  readonly random: Random;
  readonly directory: WorkerDirectory;
  readonly expected: ExpectedWorkers;
  readonly defaults: ControlDefaults;
  readonly settings: PlacementSettings;
}

/** Chooses workers by what the directory knows of them now. */
export class Placer {
  readonly #options: PlacerOptions;
  #turn: number;

  constructor(options: PlacerOptions) {
    this.#options = options;
    // Control planes that start together do not begin with the same worker.
    this.#turn = options.random.bytes(1)[0] ?? 0;
  }

  /**
   * The worker for a request; throws why there is none. It counts as promised from then on, else those who ask at the same
   * moment would all get the same one: whoever does not make use of it says so with `giveUp`.
   */
  async place(request: CreateSandbox, excluded: readonly Refused[] = []): Promise<Placed> {
    const { defaults, directory, settings } = this.#options;
    this.#turn += 1;
    const attempt = (): Promise<Placed> =>
      directory.choose((candidates) => {
        const placed = place({ request, defaults, settings, candidates, turn: this.#turn, excluded });
        directory.promise(placed.workerId, amountsOf(placed.spec.resources));
        return placed;
      });
    try {
      return await attempt();
    } catch (error) {
      // Room may have come since the rows were read: nobody is turned away by what is old.
      if (!isCaissonError(error, "no_capacity", "worker_unavailable")) throw error;
      const more = (await directory.arrivals(ARRIVAL_MS)) || directory.refresh(OLD_MS);
      if (!more) return this.#later(error, attempt);
    }
    return attempt().catch((error: unknown) => this.#later(error, attempt));
  }

  /** Nothing comes of a choice. */
  giveUp({ workerId, spec }: Placed): void {
    this.#options.directory.takeBack(workerId, amountsOf(spec.resources));
  }

  /** Where there is no way to any worker that fits: once more when one of those came that are about to come back. */
  async #later(error: unknown, attempt: () => Promise<Placed>): Promise<Placed> {
    const { directory, expected } = this.#options;
    if (!isCaissonError(error, "worker_unavailable")) throw error;
    const another = expected.arrivals();
    while (await another()) {
      directory.forget();
      try {
        return await attempt();
      } catch (again) {
        if (!isCaissonError(again, "worker_unavailable")) throw again;
      }
    }
    throw error;
  }

  /** Another worker for a creation; throws why there is none. */
  again(sandbox: SandboxRecord, excluded: readonly Refused[]): Promise<Placed> {
    const { spec, tenantId, placement } = sandbox;
    return this.place(
      {
        ...placement?.asked,
        image: spec.image,
        ...(spec.user === undefined ? {} : { user: spec.user }),
        ...(spec.workdir === undefined ? {} : { workdir: spec.workdir }),
        ...(tenantId === null ? {} : { tenant_id: tenantId }),
      },
      excluded,
    );
  }
}
