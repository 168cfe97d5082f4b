import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import {
  CaissonError,
  LINK_HEADERS,
  SCOPES,
  systemClock,
  type ChallengeReply,
  type Heartbeat,
  type HeartbeatReply,
  type Renewal,
} from "@caisson/contract";
import { Link } from "@caisson/link";
import { readLinkRequest, refuseLink, RemoteHost, serveControl, switchToLink, workerLinkOptions } from "@caisson/worker-link";

/** A control plane that is nothing but its end of links, on a port of this machine; it says what the test wants. */
export class TestControlPlane implements AsyncDisposable {
  readonly id: string;
  /** Tokens that open a link. */
  token = "worker-token-0123456789";
  /** What heartbeats are answered with; an error refuses them. */
  reply: Partial<HeartbeatReply> | CaissonError = {};
  /** What challenges and renewals are answered with; without it, they are taken. */
  renewal: CaissonError | undefined;
  readonly renewals: Renewal[] = [];
  challenges = 0;
  /** Never answers a heartbeat. */
  silent = false;
  readonly heartbeats: Heartbeat[] = [];
  /** Links that were opened, the newest last. */
  readonly links: Link[] = [];
  /** Upgrade requests, those that were refused included. */
  asked = 0;
  readonly #server: Server;
  #wake: (() => void)[] = [];
  #port = 0;

  private constructor(id: string) {
    this.id = id;
    this.#server = createServer((_request, response) => response.writeHead(404).end());
    this.#server.on("upgrade", (message: IncomingMessage, socket: Duplex, head: Buffer) => this.#upgrade(message, socket, head));
  }

  static async start(id: string): Promise<TestControlPlane> {
    const plane = new TestControlPlane(id);
    await plane.listen();
    return plane;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** The way to the worker over the newest link. */
  host(workerId: string): RemoteHost {
    const link = this.links.at(-1);
    if (link === undefined) throw new Error("no link");
    return new RemoteHost(workerId, link);
  }

  /** Listens, at the port it had before. */
  async listen(): Promise<void> {
    this.#server.listen(this.#port, "127.0.0.1");
    await once(this.#server, "listening");
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Is gone as after a crash; `listen` brings it back. */
  async crash(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    this.#server.closeAllConnections();
    for (const link of this.links) link.close();
    await closed;
  }

  /** Resolves when what is asked for is so; looked at whenever something happens. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.crash();
  }

  #upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.asked += 1;
    socket.on("error", () => socket.destroy());
    if (readLinkRequest(message).token !== this.token) {
      refuseLink(socket, new CaissonError("unauthorized", "No worker has this token."), { [LINK_HEADERS.nonce]: "nonce" });
      return this.#happened();
    }
    this.take(switchToLink(socket, head, { [LINK_HEADERS.controlPlane]: this.id }), "listener");
  }

  /** Makes a link of a connection with a worker. */
  take(stream: Duplex, role: "dialler" | "listener"): void {
    const refuse = (): Promise<never> => Promise.reject(new CaissonError("forbidden", "It holds no lease."));
    const serve = serveControl({
      scopes: new Set(SCOPES),
      heartbeat: (said) => this.#heard(said),
      challenge: () => this.#challenged(),
      renew: (renewal) => this.#renewed(renewal),
      report: refuse,
      processesChanged: refuse,
      portAccess: refuse,
    });
    const link = new Link(stream, workerLinkOptions(stream, "control", role, serve, systemClock));
    this.links.push(link);
    void link.closed.then(() => this.#happened());
    this.#happened();
  }

  async #challenged(): Promise<ChallengeReply> {
    this.challenges += 1;
    this.#happened();
    if (this.renewal !== undefined) throw this.renewal;
    return { nonce: `nonce ${this.challenges}` };
  }

  async #renewed(renewal: Renewal): Promise<void> {
    this.renewals.push(renewal);
    this.#happened();
  }

  async #heard(said: Heartbeat): Promise<HeartbeatReply> {
    this.heartbeats.push(said);
    this.#happened();
    if (this.silent) return new Promise(() => undefined);
    if (this.reply instanceof CaissonError) throw this.reply;
    return { lease_ms: 90_000, send_providers: false, drain: false, control_planes: [], keys: { keys: [] }, ...this.reply };
  }

  #happened(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}
