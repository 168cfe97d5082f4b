import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configSchema, newId, systemClock, systemRandom, type Heartbeat } from "@caisson/contract";
import { controlDefaults, Orchestrator, SteadyClock } from "@caisson/control";
import { GuestClient } from "@caisson/guest";
import { MockMachine, MockProvider } from "@caisson/providers";
import { openSqlite } from "@caisson/store";
import { HeartbeatSource, ImageStore, LocalHost } from "@caisson/worker";
import { pack } from "msgpackr";
import { pino } from "pino";
import { median } from "../measure.ts";
import { goal } from "./goal.ts";

const FEW = 10;
const MANY = 10_000;
/** Heartbeats of one measurement: one alone is shorter than the clock of CPU time can tell. */
const BATCH = 20;
/** Time between two heartbeats of a worker, in ms. */
const EVERY_MS = 10_000;
/** Starts under way at once. */
const AT_ONCE = 64;
/** How much dearer many may be: what two measurements of the same differ by. */
const NOISE = 1.25;

/** What heartbeats of a worker cost it, and the control plane that takes them, with few sandboxes and with many, interleaved. */
export async function measureHeartbeats(batches: number): Promise<void> {
  await using few = await Pair.open(FEW);
  await using many = await Pair.open(MANY);
  for (const pair of [few, many]) for (let beat = 0; beat < 3 * BATCH; beat += 1) await pair.beat();
  for (const pair of [few, many]) pair.clear();
  for (let batch = 0; batch < batches; batch += 1) for (const pair of [few, many]) await pair.batch();
  console.log(`\nHeartbeats (${BATCH * batches} of each; CPU of one, medians of batches of ${BATCH})`);
  for (const pair of [few, many]) {
    const { sandboxes, bytes, making, taking } = pair;
    console.log(
      `  ${String(sandboxes).padStart(6)} sandboxes: ${bytes} bytes; ${(median(making) * 1000).toFixed(0).padStart(5)} µs to make it, ${(median(taking) * 1000).toFixed(0).padStart(5)} µs to take it`,
    );
  }
  goal("bytes, many over few", many.bytes / few.bytes, "at most", 1.01, "times");
  goal("CPU to make it, many over few", median(many.making) / median(few.making), "at most", NOISE, "times");
  goal("CPU to take it, many over few", median(many.taking) / median(few.taking), "at most", NOISE, "times");
}

/** A worker with mock sandboxes, and a control plane with a database that knows them all. */
class Pair implements AsyncDisposable {
  readonly sandboxes: number;
  /** CPU time of one heartbeat in each batch, in ms. */
  making: number[] = [];
  taking: number[] = [];
  bytes = 0;
  readonly #next: () => Promise<Heartbeat>;
  readonly #take: (heartbeat: Heartbeat) => Promise<unknown>;
  readonly #opened: AsyncDisposableStack;

  private constructor(
    sandboxes: number,
    next: () => Promise<Heartbeat>,
    take: (heartbeat: Heartbeat) => Promise<unknown>,
    opened: AsyncDisposableStack,
  ) {
    this.sandboxes = sandboxes;
    this.#next = next;
    this.#take = take;
    this.#opened = opened;
  }

  static async open(sandboxes: number): Promise<Pair> {
    await using opening = new AsyncDisposableStack();
    const memory = "/dev/shm";
    const dir = await mkdtemp(join(existsSync(memory) ? memory : tmpdir(), "caisson-bench-"));
    opening.defer(() => rm(dir, { recursive: true, force: true }));
    const log = (): void => undefined;
    const parts = { clock: systemClock, random: systemRandom, log };
    const workerId = "bench";
    const images = new ImageStore({ dir: join(dir, "images"), ...parts });
    const providers = [new MockProvider(new MockMachine(systemClock), parts)];
    const host = new LocalHost({ workerId, dataDir: dir, providers, images, ...parts, healthEveryMs: 0, sweepEveryMs: 0 });
    opening.defer(() => host.close());
    await host.open();
    await host.describe();
    const source = new HeartbeatSource({
      ...parts,
      host,
      dataDir: dir,
      labels: { zone: "a" },
      capacity: { sandboxes: 0 },
      previewDomain: "localhost",
      previewUrl: null,
      publicUrl: null,
      publicUrlProblem: () => undefined,
      advertiseAddr: null,
      onControlLoss: "run",
      news: () => undefined,
    });

    // Each heartbeat is taken as far from the last as a worker sends them: one that comes sooner is refused as a flood.
    let ahead = 0;
    const clock = new SteadyClock({
      ...systemClock,
      now: () => systemClock.now() + ahead,
      monotonic: () => systemClock.monotonic() + ahead,
    });
    const store = opening.use(await openSqlite({ path: join(dir, "caisson.db"), clock }));
    const orchestrator = new Orchestrator({
      clock,
      store,
      defaults: controlDefaults(configSchema.parse({})),
      logger: pino({ level: "silent" }),
      guestOf: (opener) => new GuestClient(opener),
    });
    opening.defer(() => orchestrator.close());
    await store.workers.add(workerId, { tenantId: null });
    const none = { tenantId: null, scopes: new Set<never>(), keyThumbprint: null, expiresAt: null, issuedAt: null, keyId: null };
    const identity = { workerId, credential: "shared", ...none } as const;
    const session = orchestrator.sessions.open(identity, host);
    opening.defer(() => session.close());

    let left = sandboxes;
    const fill = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const id = newId("sandbox", clock.now(), systemRandom);
        const spec = { provider: "mock", image: "host", resources: {}, network: "none" } as const;
        const who = { id, workerId, ownerId: null, tenantId: null, placement: null };
        const what = { spec, env: {}, metadata: {}, previewDomain: null };
        await store.sandboxes.reserve({ ...who, ...what, ttlMs: 3_600_000, deadlineMs: 120_000, maxLive: 0 });
        await host.start({ ...spec, sandboxId: id, epoch: 1, env: {} });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, fill));
    // What each provider can do goes over once, as it does between a worker and a control plane.
    await source.next(true);
    await session.heartbeat(await source.next(true));
    return new Pair(
      sandboxes,
      () => source.next(false),
      (heartbeat) => {
        ahead += EVERY_MS;
        return session.heartbeat(heartbeat);
      },
      opening.move(),
    );
  }

  async beat(): Promise<void> {
    await this.#take(await this.#next());
  }

  clear(): void {
    this.making = [];
    this.taking = [];
  }

  async batch(): Promise<void> {
    const made: Heartbeat[] = [];
    this.making.push(
      await cpuOf(async () => {
        while (made.length < BATCH) made.push(await this.#next());
      }),
    );
    this.bytes = pack(made[0]).length;
    this.taking.push(
      await cpuOf(async () => {
        for (const heartbeat of made) await this.#take(heartbeat);
      }),
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#opened.disposeAsync();
  }
}

/** CPU time of this process for one of a batch, in ms. */
async function cpuOf(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / BATCH;
}
