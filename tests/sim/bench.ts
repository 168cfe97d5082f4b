import { Orchestrator, SteadyClock, type ControlDefaults } from "@caisson/control";
import { openSqlite, type Store } from "@caisson/store";
import { guestOf } from "./sim-guest.ts";
import { SimHost, SimMachine } from "./sim-host.ts";
import { SimProcess, type WallTime } from "./sim-process.ts";
import { Simulation } from "./simulation.ts";

/** One log line. */
export interface Line {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** One machine without faults of its own, one control plane on a real store, and time that passes only while somebody waits. */
export class Bench implements AsyncDisposable {
  readonly simulation: Simulation;
  readonly machine: SimMachine;
  readonly wall: WallTime;
  readonly store: Store;
  readonly lines: Line[] = [];
  readonly orchestrator: Orchestrator;

  private constructor(simulation: Simulation, machine: SimMachine, wall: WallTime, clock: SteadyClock, store: Store, given: BenchOptions) {
    this.simulation = simulation;
    this.machine = machine;
    this.wall = wall;
    this.store = store;
    const log =
      (level: Line["level"]) =>
      (fields: object, message: string): void =>
        void this.lines.push({ level, message, fields: { ...fields } });
    const process = new SimProcess(simulation, wall);
    this.orchestrator = new Orchestrator({
      clock,
      random: simulation.random,
      store,
      defaults: { image: "host", ttlMs: 1_800_000, maxTtlMs: 86_400_000, pids: 64, maxSandboxes: 0, ...given.defaults },
      logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") },
      guestOf,
    });
    this.orchestrator.attach(new SimHost(machine, process, simulation));
  }

  /** A bench whose orchestrator has started. */
  static async open(given: BenchOptions = {}): Promise<Bench> {
    const simulation = new Simulation(1, false);
    const wall: WallTime = { offset: Date.UTC(2030, 0, 1) };
    const clock = new SteadyClock(new SimProcess(simulation, wall).clock);
    const store = await openSqlite({ path: ":memory:", clock });
    const bench = new Bench(simulation, new SimMachine("a", simulation, () => undefined), wall, clock, store, given);
    await bench.until(bench.orchestrator.start());
    return bench;
  }

  /** Lets time pass until the promise settles, for two hours at most. */
  async until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    for (const end = this.simulation.now + 7_200_000; !settled && this.simulation.now < end;) await this.pass(10);
    if (!settled) throw new Error("it did not settle within two hours");
    return promise;
  }

  /** The error that a promise rejects with. */
  async failure(promise: Promise<unknown>): Promise<unknown> {
    return this.until(
      promise.then(
        (value) => {
          throw new Error(`it did not fail but gave ${JSON.stringify(value)}`);
        },
        (error: unknown) => error,
      ),
    );
  }

  /** Lets time pass. */
  pass(ms: number): Promise<void> {
    return this.simulation.run(this.simulation.now + ms);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.until(this.orchestrator.close());
    await this.store.close();
  }
}

/** What a bench may have instead of the usual. */
export interface BenchOptions {
  readonly defaults?: Partial<ControlDefaults>;
}
