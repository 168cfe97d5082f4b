import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { duplexPair, type Duplex } from "node:stream";
import { SCOPES, systemClock, systemRandom, type SandboxHost, type Scope } from "@caisson/contract";
import { Link } from "@caisson/link";
import { MockMachine, MockProvider } from "@caisson/providers";
import { RemoteHost, serveHost, workerLinkOptions, type ServeHostOptions } from "@caisson/worker-link";
import { LocalHost } from "../host/local-host.ts";
import { ImageStore } from "../images/image-store.ts";

/** How the two ends of a link are joined. */
export type Join = "pair" | "tcp";

/** A worker with mock boxes, and the same worker as it is seen over a link. */
export class LinkedHost implements AsyncDisposable {
  readonly machine: MockMachine;
  readonly local: LocalHost;
  readonly remote: RemoteHost;
  /** The control plane's end, and the worker's. */
  readonly near: Link;
  readonly far: Link;
  readonly #dir: string;

  private constructor(dir: string, machine: MockMachine, local: LocalHost, near: Link, far: Link) {
    this.#dir = dir;
    this.machine = machine;
    this.local = local;
    this.near = near;
    this.far = far;
    this.remote = new RemoteHost(local.workerId, near);
  }

  static async open(
    how: Join,
    options: Partial<ServeHostOptions> & { readonly serve?: (host: LocalHost) => SandboxHost } = {},
  ): Promise<LinkedHost> {
    const dir = await mkdtemp(join(tmpdir(), "caisson-linked-"));
    const machine = new MockMachine(systemClock);
    const log = (): void => undefined;
    const parts = { clock: systemClock, random: systemRandom, log };
    const images = new ImageStore({ dir: join(dir, "images"), machine: join(dir, "machine"), ...parts });
    const providers = [new MockProvider(machine, parts)];
    const local = new LocalHost({ workerId: "w1", dataDir: dir, providers, images, healthEveryMs: 0, sweepEveryMs: 0, ...parts });
    await local.open();
    const [a, b] = how === "pair" ? duplexPair() : await tcpPair();
    const scopes: ReadonlySet<Scope> = options.scopes ?? new Set(SCOPES);
    const serve = serveHost(options.serve?.(local) ?? local, { ...options, scopes });
    const far = new Link(b, workerLinkOptions(b, "worker", "dialler", serve));
    const near = new Link(
      a,
      workerLinkOptions(a, "control", "listener", (call) => call.end()),
    );
    return new LinkedHost(dir, machine, local, near, far);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.near.close();
    this.far.close();
    await this.local.close();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

async function tcpPair(): Promise<[Duplex, Duplex]> {
  const server = createServer({ noDelay: true });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const accepted = once(server, "connection") as Promise<[Duplex]>;
  const dialled = connect({ port, host: "127.0.0.1", noDelay: true });
  const [taken] = await accepted;
  server.close();
  return [taken, dialled];
}
