import { isCaissonError, toCaissonError, type CreateSandbox, type ErrorCode, type Sandbox } from "@caisson/contract";
import type { Orchestrator } from "@caisson/control";
import type { Simulation } from "./simulation.ts";

/** Errors that a create may honestly answer with in this world. */
const CREATE_ERRORS: readonly ErrorCode[] = [
  "internal",
  "worker_unavailable",
  "resource_limit",
  "unsupported",
  "provider_failed",
  "lease_lost",
  "deadline_exceeded",
  "sandbox_destroyed",
  "cancelled",
];

/** The door to the control plane, while one is there. */
export interface Door {
  /** Waits for an answer; `lost` is called instead when the control plane dies first. */
  ask<T>(call: (orchestrator: Orchestrator) => Promise<T>, answered: (result: PromiseSettledResult<T>) => void, lost: () => void): void;
}

/** Who remembers what users asked for and were told. */
export interface Witness {
  /** Every sandbox that was ever reserved, the newest last. */
  readonly entries: ReadonlyMap<string, { readonly acknowledged: boolean; destroyAsked: boolean }>;
  told(sandbox: Sandbox, how: "create" | "get" | "destroy" | "list", askedAt: number): void;
  denied(id: string): void;
  keyed(key: string, id: string): void;
}

/** What else users do in some worlds. */
export interface Habits {
  /** More fields for a request. */
  readonly vary?: () => Partial<CreateSandbox>;
  /** Errors that any call may honestly answer with. */
  readonly errors?: readonly ErrorCode[];
}

/** People who create, use and destroy sandboxes, impatiently and more than once. */
export class Users {
  readonly #simulation: Simulation;
  readonly #door: Door;
  readonly #ledger: Witness;
  readonly #habits: Habits;
  #keys = 0;
  /** Keys that were also sent with another request, which may have been the first to arrive. */
  readonly #abused = new Set<string>();
  active = true;

  constructor(simulation: Simulation, door: Door, ledger: Witness, habits: Habits = {}) {
    this.#habits = habits;
    this.#simulation = simulation;
    this.#door = door;
    this.#ledger = ledger;
  }

  /** Does one thing. */
  act(what: "anything" | "create" = "anything"): void {
    const { random } = this.#simulation;
    const ids = [...this.#ledger.entries.keys()];
    const dice = random.int(0, 99);
    if (what === "create" || ids.length === 0 || dice < 40) this.#create();
    else if (dice < 65) this.#destroy(random.chance(0.5) ? (ids.at(-1) ?? "") : random.pick(ids));
    else if (dice < 75) this.#extend(random.pick(ids));
    else if (dice < 85) this.#use(random.pick(ids));
    else if (dice < 93) this.#get(random.pick(ids));
    else this.#list();
  }

  #create(): void {
    const { random } = this.#simulation;
    const request: CreateSandbox = {
      ttl: random.chance(0.4) ? `${random.int(1, 90)}s` : "24h",
      metadata: { n: String(this.#keys) },
      ...(random.chance(0.1) ? { memory_mb: 64 } : {}),
      ...(random.chance(0.05) ? { disk_mb: 64 } : {}),
      ...this.#habits.vary?.(),
    };
    const key = random.chance(0.6) ? `key${this.#keys}` : undefined;
    this.#keys += 1;
    this.#askCreate(request, key, 3);
    if (random.chance(0.2)) this.#simulation.after(random.int(0, 300), () => this.#destroy([...this.#ledger.entries.keys()].at(-1) ?? ""));
    if (key === undefined) return;
    if (random.chance(0.3)) this.#simulation.after(random.int(0, 500), () => this.#askCreate(request, key, 0));
    if (random.chance(0.1)) this.#simulation.after(random.int(0, 60_000), () => this.#abuseKey(request, key));
  }

  #askCreate(request: CreateSandbox, key: string | undefined, retries: number): void {
    const { random } = this.#simulation;
    const askedAt = this.#simulation.now;
    const controller = new AbortController();
    const again = (): void => {
      // Without a key a retry is a new sandbox: only what has one is safe to repeat.
      if (key === undefined || retries === 0 || !this.active) return;
      this.#simulation.after(random.int(100, 5_000), () => this.#askCreate(request, key, retries - 1));
    };
    const call = (orchestrator: Orchestrator): Promise<Sandbox> =>
      orchestrator.create(request, { signal: controller.signal, ...(key === undefined ? {} : { idempotencyKey: key }) });
    this.#door.ask(
      call,
      (result) => {
        this.#simulation.note(() => `user   create ${key ?? ""}: ${told(result)}`);
        if (result.status === "fulfilled") {
          this.#ledger.told(result.value, "create", askedAt);
          if (key !== undefined) this.#ledger.keyed(key, result.value.id);
          if (random.chance(0.2)) this.#destroy(result.value.id);
          return;
        }
        const abused = key !== undefined && this.#abused.has(key);
        this.#expect("create", result.reason, abused ? [...CREATE_ERRORS, "idempotency_conflict"] : CREATE_ERRORS);
        again();
      },
      again,
    );
    if (random.chance(0.1)) this.#simulation.after(random.int(0, 1_000), () => controller.abort());
  }

  /** The same key for something else must be refused, unless the first request never got as far as the store. */
  #abuseKey(request: CreateSandbox, key: string): void {
    const askedAt = this.#simulation.now;
    this.#abused.add(key);
    const other = { ...request, metadata: { other: "1" } };
    this.#door.ask(
      (orchestrator) => orchestrator.create(other, { idempotencyKey: key }),
      (result) => {
        if (result.status === "fulfilled") {
          this.#ledger.told(result.value, "create", askedAt);
          this.#ledger.keyed(key, result.value.id);
        } else this.#expect("create", result.reason, [...CREATE_ERRORS, "idempotency_conflict"]);
      },
      () => undefined,
    );
  }

  #destroy(id: string): void {
    const entry = this.#ledger.entries.get(id);
    if (entry === undefined) return;
    const ask = (retries: number): void => {
      const askedAt = this.#simulation.now;
      const again = (): void => {
        if (retries > 0 && this.active) this.#simulation.after(this.#simulation.random.int(100, 5_000), () => ask(retries - 1));
      };
      this.#door.ask(
        (orchestrator) => {
          entry.destroyAsked = true;
          return orchestrator.destroy(id);
        },
        (result) => {
          this.#simulation.note(() => `user   destroy ${id}: ${told(result)}`);
          if (result.status === "fulfilled") return this.#ledger.told(result.value, "destroy", askedAt);
          if (isCaissonError(result.reason, "sandbox_not_found")) this.#ledger.denied(id);
          this.#expect("destroy", result.reason, ["internal"]);
          again();
        },
        again,
      );
    };
    ask(3);
  }

  #extend(id: string): void {
    const ttlMs = this.#simulation.random.int(1, 120) * 1_000;
    this.#door.ask(
      (orchestrator) => orchestrator.extend(id, ttlMs),
      (result) => {
        if (result.status === "rejected") this.#expect("extend", result.reason, ["internal", "sandbox_destroyed"]);
      },
      () => undefined,
    );
  }

  #use(id: string): void {
    this.#door.ask(
      (orchestrator) => orchestrator.withGuest(id, "stats", (guest) => guest.stats()),
      (result) => {
        if (result.status === "rejected") {
          this.#expect("stats", result.reason, [
            "internal",
            "sandbox_destroyed",
            "state_conflict",
            "worker_unavailable",
            "agent_unreachable",
          ]);
        }
      },
      () => undefined,
    );
  }

  #get(id: string): void {
    const askedAt = this.#simulation.now;
    this.#door.ask(
      (orchestrator) => orchestrator.get(id),
      (result) => {
        if (result.status === "fulfilled") return this.#ledger.told(result.value, "get", askedAt);
        if (isCaissonError(result.reason, "sandbox_not_found")) this.#ledger.denied(id);
        this.#expect("get", result.reason, ["internal"]);
      },
      () => undefined,
    );
  }

  /** Pages through all of them: what was acknowledged before must be there. */
  #list(): void {
    const expected = [...this.#ledger.entries].filter(([, entry]) => entry.acknowledged).map(([id]) => id);
    const seen = new Set<string>();
    const askedAt = this.#simulation.now;
    this.#door.ask(
      async (orchestrator) => {
        let cursor: string | null = null;
        do {
          const page = await orchestrator.list({ state: "all", limit: 3, ...(cursor === null ? {} : { cursor }) });
          for (const item of page.items) {
            if (seen.has(item.id)) this.#simulation.violate(`a list shows ${item.id} twice`);
            seen.add(item.id);
            this.#ledger.told(item, "list", askedAt);
          }
          cursor = page.next_cursor;
        } while (cursor !== null);
      },
      (result) => {
        if (result.status === "rejected") return this.#expect("list", result.reason, ["internal"]);
        for (const id of expected) if (!seen.has(id)) this.#simulation.violate(`a list lacks ${id}`);
      },
      () => undefined,
    );
  }

  #expect(what: string, reason: unknown, codes: readonly ErrorCode[]): void {
    const error = toCaissonError(reason);
    if (!codes.includes(error.code) && this.#habits.errors?.includes(error.code) !== true)
      this.#simulation.violate(`${what} answered ${error.code}: ${error.message}`);
    if (error.code === "internal" && !error.message.startsWith("simulated")) {
      this.#simulation.violate(
        `${what} failed within: ${error.message}\n${error.stack ?? ""}\n${String((error.cause as Error | undefined)?.stack)}`,
      );
    }
  }
}

function told(result: PromiseSettledResult<Sandbox>): string {
  if (result.status === "fulfilled") return `${result.value.id} ${result.value.state}`;
  const { code, message } = toCaissonError(result.reason);
  return `${code} ${message}`;
}
