import type { Simulation } from "../simulation.ts";
import type { Connection } from "./connection.ts";

/** Which way something goes: from the worker up to the control plane, or down to the worker. */
export type Direction = "up" | "down";

/** What can get lost though all else passes: what a worker says of itself, or what it answers. */
export type Lossy = "heartbeat" | "inventory" | "inspect";

/** Longest time that a slow wire holds something up, in ms: less than what ends a connection. */
const SLOW_MS = 8_000;

/** What lies between one control plane's machine and one worker's: it can be cut, one way or both, and be slow. */
export class Wire {
  readonly name: string;
  /** Odds that something takes long. */
  slow = 0;
  readonly #simulation: Simulation;
  readonly #cut: Record<Direction, number> = { up: 0, down: 0 };
  readonly #lost: Record<Lossy, number> = { heartbeat: 0, inventory: 0, inspect: 0 };
  readonly #connections = new Set<Connection>();

  constructor(name: string, simulation: Simulation) {
    this.name = name;
    this.#simulation = simulation;
  }

  isCut(way: Direction): boolean {
    return this.#cut[way] > this.#simulation.now;
  }

  /** Whether a connection can be made. */
  get isWhole(): boolean {
    return !this.isCut("up") && !this.isCut("down");
  }

  /** Cuts some ways for a while. */
  cut(ways: readonly Direction[], ms: number): void {
    for (const way of ways) this.#cut[way] = Math.max(this.#cut[way], this.#simulation.now + ms);
    this.#simulation.note(() => `wire   ${this.name} is cut ${ways.join(" and ")} for ${ms} ms`);
    this.#simulation.after(ms, () => this.attend());
    this.attend();
  }

  /** Loses everything of one kind for a while; the connection is well and all else passes. */
  lose(kind: Lossy, ms: number): void {
    this.#lost[kind] = Math.max(this.#lost[kind], this.#simulation.now + ms);
    this.#simulation.note(() => `wire   ${this.name} loses each ${kind} for ${ms} ms`);
  }

  loses(kind: Lossy): boolean {
    return this.#lost[kind] > this.#simulation.now;
  }

  /** Makes it whole and fast again. */
  heal(): void {
    this.slow = 0;
    Object.assign(this.#lost, { heartbeat: 0, inventory: 0, inspect: 0 });
    this.#cut.up = this.#cut.down = 0;
    this.attend();
  }

  /** Lets the connections see what has changed. */
  attend(): void {
    for (const connection of this.#connections) connection.attend();
  }

  /** How long something is under way, in ms. */
  transit(): number {
    return this.#simulation.delay(3, SLOW_MS, this.slow);
  }

  add(connection: Connection): void {
    this.#connections.add(connection);
  }

  remove(connection: Connection): void {
    this.#connections.delete(connection);
  }
}
