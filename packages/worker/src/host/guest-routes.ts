import type { Duplex } from "node:stream";
import type { ChannelOpener } from "@caisson/contract";

/** A shared way to one agent. It connects on demand and again after a break. */
export interface GuestRoute extends ChannelOpener {
  /** Ends the connection; calls under way fail. */
  close(): void | Promise<void>;
}

/** Makes the route to one agent from a way to connect to it; `broke` is called when a connection ends that nobody closed. */
export type RouteFactory = (connect: (signal: AbortSignal) => Promise<Duplex>, broke: () => void) => GuestRoute;

/** The routes to all agents of this worker, one each. */
export class GuestRoutes {
  readonly #make: RouteFactory;
  readonly #broke: (sandboxId: string) => void;
  readonly #routes = new Map<string, GuestRoute>();

  /** `broke` hears of sandboxes whose agent's connection ended by itself. */
  constructor(make: RouteFactory, broke: (sandboxId: string) => void) {
    this.#make = make;
    this.#broke = broke;
  }

  get(sandboxId: string): GuestRoute | undefined {
    return this.#routes.get(sandboxId);
  }

  /** Makes the route of a sandbox; one of an earlier box is closed. */
  async add(sandboxId: string, connect: (signal: AbortSignal) => Promise<Duplex>): Promise<GuestRoute> {
    await this.remove(sandboxId);
    const route = this.#make(connect, () => this.#broke(sandboxId));
    this.#routes.set(sandboxId, route);
    return route;
  }

  async remove(sandboxId: string): Promise<void> {
    const route = this.#routes.get(sandboxId);
    this.#routes.delete(sandboxId);
    await route?.close();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#routes.keys()].map((sandboxId) => this.remove(sandboxId)));
  }
}
