import { CaissonError } from "@caisson/contract";
import type { SimProcess } from "../sim-process.ts";
import type { Scheduled, Simulation } from "../simulation.ts";
import type { Direction, Wire } from "./wire.ts";

/** The two processes at the ends of a connection. */
export type Side = "control" | "worker";

/** Silence after which an end gives its connection up, in ms: keep-alive asks after 5 s and waits 10 s. */
const GONE_AFTER_MS = { least: 10_000, most: 15_000 } as const;

/** One end: what its process knows of the connection. */
class End {
  readonly process: SimProcess;
  open = true;
  /** Calls of this end that wait for an answer. */
  readonly waiting = new Set<(error: CaissonError) => void>();
  /** Work that this end does for the other one. */
  readonly serving = new Set<AbortController>();
  readonly closed: (() => void)[] = [];
  /** Runs while nothing can be heard. */
  silence: Scheduled | undefined;
  /** Nothing of the other end arrives before this, so that order is kept. */
  arrived = 0;

  constructor(process: SimProcess) {
    this.process = process;
  }
}

const OTHER = { control: "worker", worker: "control" } as const;
/** Which way what an end sends goes. */
const WAY = { control: "down", worker: "up" } as const satisfies Record<Side, Direction>;

/**
 * One connection between a control plane and a worker, as TCP and our link make it: in order and once, or not at all. What is
 * under way when a wire is cut arrives late when it heals, if the receiver has not given up by then. Each end learns on its
 * own that the other one is gone: by its farewell, or by its silence.
 */
export class Connection {
  readonly #simulation: Simulation;
  readonly #wire: Wire;
  readonly #ends: Readonly<Record<Side, End>>;
  readonly #parked: Record<Direction, (() => void)[]> = { up: [], down: [] };

  constructor(simulation: Simulation, wire: Wire, control: SimProcess, worker: SimProcess) {
    this.#simulation = simulation;
    this.#wire = wire;
    this.#ends = { control: new End(control), worker: new End(worker) };
    wire.add(this);
    for (const side of ["control", "worker"] as const) {
      // The kernel says farewell for a process that was killed.
      this.#ends[side].process.onEnd(() => this.close(side, "its process ended"));
    }
  }

  isOpen(side: Side): boolean {
    return this.#ends[side].open;
  }

  /** Calls back when this end knows that the connection is over. */
  onClosed(side: Side, closed: () => void): void {
    const end = this.#ends[side];
    if (end.open) end.closed.push(closed);
    else closed();
  }

  /** One end gives the connection up, and tells the other one if that can be. */
  close(side: Side, why: string): void {
    const end = this.#ends[side];
    if (!end.open) return;
    end.open = false;
    end.silence?.cancel();
    if (end.process.alive) this.#simulation.note(() => `link   ${this.#wire.name} is over for the ${side}: ${why}`);
    // Nothing is told to a process that has ended.
    const error = new CaissonError("worker_unavailable", `simulated: the link is over: ${why}`);
    if (end.process.alive) for (const fail of end.waiting) fail(error);
    if (end.process.alive) for (const work of end.serving) work.abort(error);
    end.serving.clear();
    this.#send(side, () => this.close(OTHER[side], "the other side closed it"));
    for (const closed of end.closed.splice(0)) closed();
    if (!this.#ends[OTHER[side]].open) this.#wire.remove(this);
    else this.attend();
  }

  /**
   * A call of one end: `work` runs at the other one. Fails with `worker_unavailable` when the connection ends first, and with
   * the reason of `signal` when the caller gives up; the other side then hears of that.
   */
  call<T>(side: Side, what: string, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const caller = this.#ends[side];
    if (!caller.open) return Promise.reject(new CaissonError("worker_unavailable", `simulated: no link for ${what}`));
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const callee = this.#ends[OTHER[side]];
    const serving = new AbortController();
    const settle = (run: () => void): void => {
      caller.waiting.delete(fail);
      signal?.removeEventListener("abort", giveUp);
      run();
    };
    const fail = (error: CaissonError): void => settle(() => reject(error));
    const giveUp = (): void => {
      this.#send(side, () => serving.abort(new CaissonError("cancelled", "simulated: the caller gave up")));
      settle(() => reject(signal?.reason as Error));
    };
    caller.waiting.add(fail);
    signal?.addEventListener("abort", giveUp, { once: true });
    const answer = (deliver: () => void): void => {
      callee.serving.delete(serving);
      if (!callee.open) return;
      this.#send(OTHER[side], () => {
        if (caller.waiting.has(fail)) settle(deliver);
      });
    };
    this.#send(side, () => {
      this.#simulation.note(() => `${side === "control" ? "asks  " : "tells "} ${this.#wire.name} ${what}`);
      callee.serving.add(serving);
      work(serving.signal).then(
        (value) => answer(() => resolve(value)),
        (error: unknown) => answer(() => reject(error as Error)),
      );
    });
    return promise;
  }

  /** The wire or a process at its end has changed: what waited goes on, and who hears nothing begins to wonder. */
  attend(): void {
    for (const way of ["up", "down"] as const) {
      if (this.#wire.isCut(way)) continue;
      for (const arrive of this.#parked[way].splice(0)) arrive();
    }
    for (const side of ["control", "worker"] as const) {
      const end = this.#ends[side];
      if (!end.open) continue;
      const deaf = this.#isDeaf(side);
      if (!deaf) {
        end.silence?.cancel();
        end.silence = undefined;
      } else {
        end.silence ??= this.#simulation.after(this.#simulation.random.int(GONE_AFTER_MS.least, GONE_AFTER_MS.most), () =>
          end.process.deliver(() => {
            end.silence = undefined;
            if (this.#isDeaf(side)) this.close(side, "silence");
          }),
        );
      }
    }
  }

  #isDeaf(side: Side): boolean {
    const other = this.#ends[OTHER[side]];
    return !other.open || other.process.frozen || this.#wire.isCut(WAY[OTHER[side]]);
  }

  /** Lets something arrive at the other end, in order. */
  #send(side: Side, arrive: () => void): void {
    const end = this.#ends[OTHER[side]];
    const way = WAY[side];
    const at = Math.max(end.arrived, this.#simulation.now + this.#wire.transit());
    end.arrived = at;
    const received = (): void => {
      end.process.deliver(() => {
        if (end.open) arrive();
      });
    };
    this.#simulation.after(at - this.#simulation.now, () => {
      if (!end.open) return;
      if (this.#wire.isCut(way)) this.#parked[way].push(received);
      else received();
    });
  }
}
