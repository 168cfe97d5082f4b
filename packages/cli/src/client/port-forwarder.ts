import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { CaissonError, isCaissonError } from "@caisson/contract";
import { Sandbox, type PortConnection } from "@caisson/sdk";
import { usageError } from "../program/cli-error.ts";
import type { CommonOptions } from "../program/leaf.ts";
import { connect } from "./connect.ts";

/** A port here and the port there that it leads to. */
export interface Forwarding {
  /** 0 for any free one. */
  readonly local: number;
  readonly remote: number;
}

/** How to forward. */
export interface ForwarderOptions extends CommonOptions {
  /** Called with a line for each connection that is made, ends or fails. */
  readonly tell: (line: string) => void;
}

/**
 * Ports of this machine's loopback that lead into a sandbox. Each connection asks for a way of its own, and looks for the
 * server again where it is not found, so a restart of the server ends only the connections of that moment.
 */
export class PortForwarder implements AsyncDisposable {
  readonly #id: string;
  readonly #options: ForwarderOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #failed = Promise.withResolvers<never>();
  readonly #stop = new AbortController();
  readonly #listening: Forwarding[] = [];
  #sandbox: Sandbox;
  #connections = 0;

  private constructor(sandbox: Sandbox, options: ForwarderOptions) {
    this.#id = sandbox.id;
    this.#sandbox = sandbox;
    this.#options = options;
    this.#failed.promise.catch(() => undefined); // whoever waits hears of it
  }

  /** Listens on every port, or on none: then it throws, as it does for a sandbox that has ended. */
  static async open(id: string, forwardings: readonly Forwarding[], options: ForwarderOptions): Promise<PortForwarder> {
    const sandbox = await Sandbox.connect(id, { client: connect(options) });
    if (sandbox.info.ended_at !== null) throw new CaissonError("sandbox_destroyed", `The sandbox is ${sandbox.info.state}.`);
    const forwarder = new PortForwarder(sandbox, options);
    try {
      for (const one of forwardings) await forwarder.#listen(one);
    } catch (error) {
      await forwarder[Symbol.asyncDispose]();
      throw error;
    }
    return forwarder;
  }

  /** What leads where. */
  get listening(): readonly Forwarding[] {
    return this.#listening;
  }

  /** Rejects when no connection can be made any more, since the sandbox has ended. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  /** Stops listening and breaks what is open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const closed = this.#servers.map((server) => new Promise((resolve) => server.close(resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  async #listen({ local, remote }: Forwarding): Promise<void> {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#carry(socket, remote));
    server.listen(local, "127.0.0.1");
    await once(server, "listening").catch((error: NodeJS.ErrnoException) => {
      throw usageError(`127.0.0.1:${local} cannot be listened on: ${error.code ?? error.message}.`, `Choose another, as in 0:${remote}.`);
    });
    this.#servers.push(server);
    this.#listening.push({ local: (server.address() as AddressInfo).port, remote });
  }

  async #carry(socket: Socket, remote: number): Promise<void> {
    this.#connections += 1;
    const name = `#${this.#connections} ${socket.remotePort} -> ${remote}`;
    this.#sockets.add(socket);
    // Told by the reads and writes that fail with it.
    socket.on("error", () => undefined);
    const gone = new AbortController();
    socket.once("close", () => gone.abort());
    try {
      using connection = await this.#connect(remote, AbortSignal.any([gone.signal, this.#stop.signal]));
      this.#options.tell(`${name}: open`);
      const [sent, received] = await Promise.all([sendAll(socket, connection), receiveAll(socket, connection)]);
      this.#options.tell(`${name}: closed, ${sent} bytes sent, ${received} received`);
    } catch (error) {
      this.#options.tell(`${name}: ${gone.signal.aborted ? "the client closed it" : (error as Error).message}`);
      if (isCaissonError(error, "sandbox_destroyed", "sandbox_not_found")) this.#failed.reject(error);
    } finally {
      socket.destroy();
      this.#sockets.delete(socket);
    }
  }

  async #connect(remote: number, signal: AbortSignal): Promise<PortConnection> {
    try {
      return await this.#sandbox.ports.connect(remote, { signal });
    } catch (error) {
      if (!isCaissonError(error, "server_unreachable") || signal.aborted) throw error;
      // It may have been started again, at another address.
      this.#sandbox = await Sandbox.connect(this.#id, { client: connect(this.#options), signal });
      return this.#sandbox.ports.connect(remote, { signal });
    }
  }
}

/** What the client says goes in; its end too. */
async function sendAll(socket: Socket, connection: PortConnection): Promise<number> {
  const writer = connection.writable.getWriter();
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) await writer.write(chunk as Buffer);
  await writer.close();
  return socket.bytesRead;
}

/** What the server says comes out; its end too. */
async function receiveAll(socket: Socket, connection: PortConnection): Promise<number> {
  for await (const bytes of connection.readable) {
    await new Promise<void>((resolve, reject) => {
      socket.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }
  socket.end();
  return socket.bytesWritten;
}
