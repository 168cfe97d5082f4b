import { createHash } from "node:crypto";
import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import {
  isCaissonError,
  toCaissonError,
  VERSION,
  type Amounts,
  type Clock,
  type ControlLossPolicy,
  type Heartbeat,
  type ProviderReport,
  type Random,
} from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";
import type { LocalHost } from "../host/local-host.ts";
import { diskRoom } from "./disk-room.ts";

const MIB = 1_048_576;
/** Memory left to the machine itself, in MiB, where it has more than twice that. */
const LEFT_MB = 512;
/** Most images that are named. */
const MAX_IMAGES = 256;
/** Most characters that are told of what is wrong with the public address. */
const MAX_PROBLEM = 512;

/** What a worker says of itself beside what it finds out. */
export interface HeartbeatOptions {
  readonly host: LocalHost;
  /** Folder whose disk sandboxes use. */
  readonly dataDir: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What is configured of the capacity; the rest is what the machine has. */
  readonly capacity: {
    readonly vcpus?: number | undefined;
    readonly memory_mb?: number | undefined;
    readonly disk_mb?: number | undefined;
    readonly sandboxes: number;
  };
  readonly previewDomain: string | null;
  readonly previewUrl: string | null;
  readonly publicUrl: string | null;
  /** What is wrong with `publicUrl` as it was last looked at; undefined when nothing is. */
  readonly publicUrlProblem: () => string | undefined;
  readonly advertiseAddr: string | null;
  readonly onControlLoss: ControlLossPolicy;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: ProviderContext["log"];
  /** Called when there is news that need not wait for the next heartbeat. */
  readonly news: () => void;
}

/** What a worker says of itself: about as much, and as cheap, however many sandboxes it has. */
export class HeartbeatSource {
  readonly #options: HeartbeatOptions;
  readonly #session: string;
  #sequence = 0;
  #providers: readonly ProviderReport[] = [];
  #digest = "";
  #capacity: Amounts | undefined;
  #ticks = cpuTicks();
  /** True from the moment the worker shuts down. */
  draining = false;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#session = Buffer.from(options.random.bytes(12)).toString("base64url");
  }

  /** The next heartbeat; `full` with what each provider can do. */
  async next(full: boolean): Promise<Heartbeat> {
    const { host, labels, previewDomain, previewUrl, publicUrl, publicUrlProblem, advertiseAddr, onControlLoss, clock } = this.#options;
    this.#lookAtProviders();
    const [capacity, used, images] = [await this.#has(), await this.#uses(), await host.images.names()];
    this.#sequence += 1;
    return {
      session: this.#session,
      sequence: this.#sequence,
      version: VERSION,
      now: clock.now(),
      draining: this.draining,
      labels: { ...labels },
      capacity,
      used,
      providers_digest: this.#digest,
      ...(full && this.#digest !== "" ? { providers: [...this.#providers] } : {}),
      images: images.slice(0, MAX_IMAGES),
      preview_domain: previewDomain,
      preview_url: previewUrl,
      public_url: publicUrl,
      public_url_problem: publicUrlProblem()?.slice(0, MAX_PROBLEM) ?? null,
      advertise_addr: advertiseAddr,
      on_control_loss: onControlLoss,
    };
  }

  /** Nobody waits for a probe: it boots boxes, and takes seconds on a slow machine. What it finds is news. */
  #lookAtProviders(): void {
    const { host, log, news } = this.#options;
    host.describe().then(
      ({ providers }) => {
        // When it was found out says nothing of what was found.
        const digest = createHash("sha256")
          .update(JSON.stringify(providers, (key, value: unknown) => (key === "probed_at" ? undefined : value)))
          .digest("base64url");
        if (digest === this.#digest) return;
        this.#digest = digest;
        this.#providers = providers;
        news();
      },
      (error: unknown) => {
        if (!isCaissonError(error, "shutting_down"))
          log("warn", "the providers could not be described", { error: toCaissonError(error).message });
      },
    );
  }

  async #has(): Promise<Amounts> {
    if (this.#capacity !== undefined) return this.#capacity;
    const { capacity, dataDir, host } = this.#options;
    const total = Math.floor(machineMemory() / MIB);
    const { bavail, bsize } = await statfs(dataDir);
    const free = { dataDir, freeMb: Math.floor((bavail * bsize) / MIB), boxes: host.count };
    this.#capacity = {
      vcpus: capacity.vcpus ?? availableParallelism(),
      memory_mb: capacity.memory_mb ?? (total > 2 * LEFT_MB ? total - LEFT_MB : Math.floor(total / 2)),
      disk_mb: capacity.disk_mb ?? (await diskRoom(free)),
      sandboxes: capacity.sandboxes,
    };
    return this.#capacity;
  }

  async #uses(): Promise<Amounts> {
    const { host, dataDir } = this.#options;
    const disk = await statfs(dataDir);
    const before = this.#ticks;
    this.#ticks = cpuTicks();
    const all = this.#ticks.all - before.all;
    const busy = all <= 0 ? 0 : ((this.#ticks.busy - before.busy) / all) * cpus().length;
    return {
      vcpus: Math.max(0, Math.round(busy * 100) / 100),
      memory_mb: Math.max(0, Math.floor((totalmem() - freemem()) / MIB)),
      disk_mb: Math.floor(((disk.blocks - disk.bfree) * disk.bsize) / MIB),
      sandboxes: host.count,
    };
  }
}

/** Memory of the machine, or of the container that this process is in. */
function machineMemory(): number {
  const bound = process.constrainedMemory();
  return bound > 0 && bound < totalmem() ? bound : totalmem();
}

function cpuTicks(): { readonly busy: number; readonly all: number } {
  let busy = 0;
  let all = 0;
  for (const { times } of cpus()) {
    const work = times.user + times.nice + times.sys + times.irq;
    busy += work;
    all += work + times.idle;
  }
  return { busy, all };
}
