import { isCaissonError, toCaissonError, type ErrorCode, type Worker } from "@caisson/contract";
import type { OperationOptions, WorkerOperations } from "@caisson/control";
import type { Simulation } from "../simulation.ts";
import type { FleetLedger } from "./fleet-ledger.ts";
import type { SimIdentities } from "./sim-identities.ts";

/** The door to the operations of one control plane after the other. */
export interface AdminDoor {
  ask<T>(call: (workers: WorkerOperations) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void): void;
}

/** Errors that an admin may honestly get in this world. */
const HONEST: readonly ErrorCode[] = [
  "internal",
  "database_unavailable",
  "worker_in_use",
  "state_conflict",
  "conflict",
  "worker_not_found",
  "deadline_exceeded",
];

/** People who drain, revoke, remove and add workers, at odds with each other. */
export class Admins {
  readonly #simulation: Simulation;
  readonly #door: AdminDoor;
  readonly #ledger: FleetLedger;
  readonly #identities: SimIdentities;
  readonly #workerIds: readonly string[];
  active = true;

  constructor(simulation: Simulation, door: AdminDoor, ledger: FleetLedger, identities: SimIdentities, workerIds: readonly string[]) {
    this.#simulation = simulation;
    this.#door = door;
    this.#ledger = ledger;
    this.#identities = identities;
    this.#workerIds = workerIds;
  }

  /** Does one thing. */
  act(): void {
    const { random } = this.#simulation;
    const id = random.pick(this.#workerIds);
    const dice = random.int(0, 99);
    if (dice < 25) this.#do("drain", id, (workers) => workers.drain(id));
    else if (dice < 45) this.#do("undrain", id, (workers) => workers.undrain(id));
    else if (dice < 65) this.#remove(id, false);
    else if (dice < 80) this.#remove(id, true);
    else if (dice < 90) this.#revoke(id);
    else this.#list();
  }

  #do(
    what: string,
    id: string,
    call: (workers: WorkerOperations) => Promise<Worker>,
    then: (worker: Worker) => void = () => undefined,
  ): void {
    this.#door.ask(call, (result) => {
      this.#simulation.note(
        () =>
          `admin  ${what} ${id}: ${result.status === "fulfilled" ? `${result.value.state} ${result.value.draining}` : toCaissonError(result.reason).code}`,
      );
      if (result.status === "fulfilled") return then(result.value);
      const error = toCaissonError(result.reason);
      if (!HONEST.includes(error.code)) this.#simulation.violate(`${what} ${id} answered ${error.code}: ${error.message}`);
      if (error.code === "internal" && !error.message.startsWith("simulated")) {
        this.#simulation.violate(
          `${what} failed within: ${error.message}\n${String((error.cause as Error | undefined)?.stack ?? error.stack)}`,
        );
      }
    });
  }

  #remove(id: string, force: boolean): void {
    const { random } = this.#simulation;
    // With force all that it has may be destroyed; what comes to it meanwhile, too.
    const may = (): void => {
      if (force) this.#ledger.forced.add(id);
    };
    const call = (workers: WorkerOperations): Promise<Worker> => {
      may();
      const options: OperationOptions & { force?: boolean } = force ? { force } : {};
      return workers.remove(id, options);
    };
    this.#do(force ? "force-remove" : "remove", id, call, (worker) => {
      if (worker.state !== "removed") this.#simulation.violate(`remove answered with ${id} ${worker.state}`);
      if (random.chance(0.7)) this.#simulation.after(random.int(500, 60_000), () => this.#addAgain(id));
    });
  }

  #revoke(id: string): void {
    const { random } = this.#simulation;
    const call = (workers: WorkerOperations): Promise<Worker> => workers.revoke(id);
    // One that was carried out late, when all is quiet, must not leave the machine out for good.
    this.#do("revoke", id, call, () => {
      if (!this.active) void this.#identities.join(id);
    });
    if (random.chance(0.7)) this.#simulation.after(random.int(5_000, 60_000), () => this.#addAgain(id));
  }

  /** The machine joins with a new token. */
  #addAgain(id: string): void {
    if (!this.active) return;
    void this.#identities.join(id);
  }

  #list(): void {
    this.#door.ask(
      (workers) => workers.list({}),
      (result) => {
        if (result.status === "rejected") {
          if (!isCaissonError(result.reason, ...HONEST)) this.#simulation.violate(`list of workers: ${String(result.reason)}`);
          return;
        }
        const ids = result.value.items.map(({ id }) => id);
        if (new Set(ids).size !== ids.length) this.#simulation.violate("a list shows a worker twice");
      },
    );
  }
}
