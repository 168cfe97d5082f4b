import { systemRandom, type Event, type WorkerCredentials } from "@caisson/contract";
import { makeSigningRequest, makeWorkerKey, signProof } from "@caisson/identity";
import { openSqlite, type Store } from "@caisson/store";
import type { PresentedCredential } from "../../workers/worker-identities.ts";
import { RegisteredIdentities } from "../registered-identities.ts";

export const HOUR_MS = 3_600_000;
export const DAY_MS: number = 24 * HOUR_MS;

/** One database in memory, with as many control planes as are wanted, and a clock that tests move. */
export class IdentityWorld implements AsyncDisposable {
  readonly store: Store;
  readonly #time: { now: number };

  private constructor(store: Store, time: { now: number }) {
    this.store = store;
    this.#time = time;
  }

  static async open(): Promise<IdentityWorld> {
    const time = { now: Date.UTC(2030, 0, 1) };
    return new IdentityWorld(await openSqlite({ path: ":memory:", clock: { now: () => time.now } }), time);
  }

  get now(): number {
    return this.#time.now;
  }

  advance(ms: number): void {
    this.#time.now += ms;
  }

  /** A control plane; each has caches of its own. */
  controlPlane(own: Record<string, string> = {}, shared?: string): RegisteredIdentities {
    const quiet = (): void => undefined;
    return new RegisteredIdentities({
      store: this.store,
      clock: { now: () => this.now },
      random: systemRandom,
      tokens: { shared: () => Promise.resolve(shared), own },
      logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    });
  }

  /** Reasons of the refusals that were reported of a worker. */
  async reported(workerId: string): Promise<unknown[]> {
    const events: readonly Event[] = await this.store.events.after(0, 1000, { types: new Set(["worker.refused"]) });
    return events.filter((event) => event.resource_id === workerId).map((event) => event.data["reason"]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.store.close();
  }
}

/** A machine that registers and proves who it is, the way a worker does. */
export class TestWorker {
  readonly key: string = makeWorkerKey();
  held!: WorkerCredentials;

  csr(): Promise<string> {
    return makeSigningRequest(this.key, undefined);
  }

  /** Registers with a new invitation for this id. */
  static async join(at: RegisteredIdentities, id: string): Promise<TestWorker> {
    const worker = new TestWorker();
    const { token } = await at.invite({ id });
    worker.held = await at.register({ token, csr: await worker.csr() });
    return worker;
  }

  async refresh(at: RegisteredIdentities): Promise<void> {
    this.held = await at.refresh({ refresh_token: this.held.refresh_token, csr: await this.csr() });
  }

  /** What it shows, over a nonce of this control plane. */
  async shows(
    at: RegisteredIdentities,
    other: { wid?: string; aud?: string; key?: string; nonce?: string } = {},
  ): Promise<PresentedCredential> {
    const { worker_id: workerId, token, issuer } = this.held;
    const claims = { nonce: other.nonce ?? (await at.challenge()), aud: other.aud ?? issuer, wid: other.wid ?? workerId };
    return { token, workerId, proof: await signProof(other.key ?? this.key, claims) };
  }
}
