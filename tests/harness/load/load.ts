import { createHash, randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecResult, Sandbox as SandboxInfo } from "@caisson/contract";
import { CaissonApiError, Sandbox } from "@caisson/sdk";
import type { ApiAccess } from "../api-access.ts";
import { attempt } from "./attempt.ts";
import { FollowedStream } from "./followed-stream.ts";
import { Ledger, type Promised } from "./ledger.ts";

/** How much of what goes on at once. */
export interface LoadShape {
  /** Loops that create sandboxes and destroy the oldest. */
  readonly creators: number;
  /** Pause of each between two, in ms. */
  readonly createEveryMs: number;
  /** Sandboxes that are kept at once besides those with streams; the oldest goes. */
  readonly keep: number;
  /** Loops that run commands. */
  readonly runners: number;
  readonly runEveryMs: number;
  /** Sandboxes whose output is followed all the time. */
  readonly streams: number;
  /** Loops that upload a file. */
  readonly uploaders: number;
  readonly uploadBytes: number;
  /** Fields of each creation, such as where. The number is that of the creation. */
  readonly request?: (n: number) => object;
}

export const LIGHT_LOAD: LoadShape = {
  creators: 2,
  createEveryMs: 400,
  keep: 12,
  runners: 3,
  runEveryMs: 150,
  streams: 5,
  uploaders: 1,
  uploadBytes: 2_000_000,
};

/** Time for one request, and for what is asked again and again, in ms. */
const REQUEST_MS = 10_000;
const UNTIL_MS = 400_000;
const AGAIN_MS = 150;
/** Errors that say the sandbox is no more; of one that was promised they are a broken promise. */
const GONE = new Set(["sandbox_not_found", "sandbox_destroyed", "sandbox_expired", "sandbox_stopped", "sandbox_failed"]);

/** Users of an installation: they create, run, follow, upload and destroy, ask again what failed, and note what they were told. */
export class Load {
  readonly ledger: Ledger = new Ledger();
  readonly streams: FollowedStream[] = [];
  readonly #api: ApiAccess;
  readonly #shape: LoadShape;
  readonly #stop = new AbortController();
  #loops: Promise<void>[] = [];
  #made = 0;

  private constructor(api: ApiAccess, shape: LoadShape) {
    this.#api = api;
    this.#shape = shape;
  }

  /** Begins; resolves when everything was done once. */
  static async start(api: ApiAccess, shape: LoadShape = LIGHT_LOAD): Promise<Load> {
    const load = new Load(api, shape);
    const first = await Promise.all(Array.from({ length: shape.streams }, () => load.#create()));
    for (const promised of first) if (promised !== undefined) load.streams.push(await FollowedStream.start(api, promised.id, load.ledger));
    const begun = [
      ...Array.from({ length: shape.creators }, () => () => load.#createAndDestroy()),
      ...Array.from({ length: shape.runners }, () => () => load.#run()),
      ...Array.from({ length: shape.uploaders }, () => () => load.#upload()),
    ];
    load.#loops = begun.map((loop) => loop());
    return load;
  }

  /** Lets everything under way end; the streams end last. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#ended();
    await Promise.all(this.streams.map((stream) => stream.finish(60_000)));
  }

  /** Gives up at once, for a test that has failed. */
  async abort(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#ended(), ...this.streams.map((stream) => stream.abort())]);
  }

  /** Resolves when nothing is under way; what is begun by what ends is waited for too. */
  async #ended(): Promise<void> {
    for (const loop of this.#loops) await loop;
  }

  get #going(): boolean {
    return !this.#stop.signal.aborted;
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  async #createAndDestroy(): Promise<void> {
    while (this.#going) {
      await this.#create();
      const streaming = new Set(this.streams.map((stream) => stream.sandboxId));
      const idle = this.ledger.live.filter((one) => one.marked && !streaming.has(one.id));
      const [oldest] = idle;
      if (idle.length > this.#shape.keep && oldest !== undefined) await this.#destroy(oldest);
      await this.#pause(this.#shape.createEveryMs);
    }
  }

  /** Creates one, asking with the same key until it is told; then marks it. */
  async #create(): Promise<Promised | undefined> {
    let key = randomUUID();
    const more = this.#shape.request?.(this.#made++);
    this.ledger.untold.add(key);
    const until = performance.now() + UNTIL_MS;
    while (performance.now() < until && (this.#going || this.#loops.length === 0)) {
      const asked = performance.now();
      const headers = { "idempotency-key": key };
      const body = { ttl: "1h", metadata: { key }, ...more };
      const made = await attempt<SandboxInfo>(this.#api, "POST", "/sandboxes", { body, timeoutMs: REQUEST_MS, headers });
      if (made.kind === "done" && made.body.state === "running") {
        const promised: Promised = { id: made.body.id, workerId: made.body.worker_id ?? "", key, marked: false, state: "live" };
        this.ledger.untold.delete(key);
        this.ledger.created(promised, asked);
        const marking = this.#mark(promised);
        // A worker that is cut off can be marked only when it is back: meanwhile others are created.
        if (this.#loops.length === 0) await marking;
        else this.#loops.push(marking);
        return promised;
      }
      if (made.kind !== "done") this.ledger.refused("create", made.code);
      // This one has failed for good, and its key says so for ever.
      if (made.kind === "refused" && made.code === "deadline_exceeded") {
        this.ledger.untold.delete(key);
        key = randomUUID();
        this.ledger.untold.add(key);
      }
      await sleep(AGAIN_MS);
    }
    return undefined;
  }

  async #mark(promised: Promised): Promise<void> {
    while (this.#going || this.#loops.length === 0) {
      const body = { command: "echo $KEY > /home/user/marker", env: { KEY: promised.key } };
      const marked = await attempt<ExecResult>(this.#api, "POST", `/sandboxes/${promised.id}/exec`, { body, timeoutMs: REQUEST_MS });
      if (marked.kind === "done" && marked.body.exit_code === 0) {
        promised.marked = true;
        return;
      }
      if (marked.kind !== "done") this.#failed("mark", promised, marked.code);
      await sleep(AGAIN_MS);
    }
  }

  async #destroy(promised: Promised): Promise<void> {
    promised.state = "leaving";
    while (this.#going) {
      const gone = await attempt(this.#api, "DELETE", `/sandboxes/${promised.id}`, { timeoutMs: REQUEST_MS });
      if (gone.kind === "done" || (gone.kind === "refused" && GONE.has(gone.code))) {
        promised.state = "destroyed";
        return;
      }
      this.ledger.refused("destroy", gone.code);
      await sleep(AGAIN_MS);
    }
  }

  async #run(): Promise<void> {
    while (this.#going) {
      const promised = this.#any();
      if (promised !== undefined) {
        const nonce = randomUUID();
        const asked = performance.now();
        const body = { command: `cat /home/user/marker; echo ${nonce}` };
        const ran = await attempt<ExecResult>(this.#api, "POST", `/sandboxes/${promised.id}/exec`, { body, timeoutMs: REQUEST_MS });
        if (ran.kind !== "done") this.#failed("run", promised, ran.code);
        else if (ran.body.stdout === `${promised.key}\n${nonce}\n`) this.ledger.execs.push({ asked, at: performance.now() });
        // What ran in one that was asked to go may have been cut short.
        else if (promised.state === "live")
          this.ledger.violated(`${promised.id} answered ${JSON.stringify(ran.body)} where ${promised.key} is its marker`);
      }
      await this.#pause(this.#shape.runEveryMs);
    }
  }

  async #upload(): Promise<void> {
    for (let n = 0; this.#going; n += 1) {
      const promised = this.#any();
      if (promised !== undefined) await this.#uploadTo(promised, `/home/user/upload-${n}`);
      await this.#pause(this.#shape.runEveryMs);
    }
  }

  async #uploadTo(promised: Promised, path: string): Promise<void> {
    const bytes = randomBytes(this.#shape.uploadBytes);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const asked = performance.now();
    try {
      const sandbox = await Sandbox.connect(promised.id, { client: this.#api.client({ timeoutMs: REQUEST_MS }) });
      const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(60_000)]);
      await sandbox.files.upload(path, bytes, { signal });
      this.ledger.uploads.push({ asked, at: performance.now() });
      const there = await sandbox.files.digest(path);
      if (there.sha256 !== sha256) this.ledger.violated(`${path} of ${promised.id} is not what was uploaded`);
      await sandbox.files.remove(path);
    } catch (error) {
      if (this.#going) this.#failed("upload", promised, error instanceof CaissonApiError ? error.code : (error as Error).name);
    }
  }

  #any(): Promised | undefined {
    const live = this.ledger.live.filter((one) => one.marked);
    return live[Math.floor(Math.random() * live.length)];
  }

  #failed(what: string, promised: Promised, code: string): void {
    if (GONE.has(code) && promised.state === "live") this.ledger.violated(`${promised.id} was promised, and is ${code}`);
    this.ledger.refused(what, code);
  }
}
