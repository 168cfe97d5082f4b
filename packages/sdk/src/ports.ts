import { TCP_PROTOCOL, type Port, type PortList, type PortToken, type PortVisibility } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";
import type { HttpClient } from "./http-client.ts";
import { PortConnection } from "./port-connection.ts";
import { openSocket, OPENING_MS } from "./web-socket.ts";

/** Bytes of either direction that may be under way, unless told otherwise. */
const WINDOW = 262_144;

/** Options of `ports.connect`. */
export interface ConnectPortOptions {
  /** Ends the attempt, and the connection. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes of either direction that may be under way, from 1024 to 4 MiB. @default 262144 */
  readonly window?: number | undefined;
}

/**
 * TCP ports of a sandbox: what listens, who may see it, links and connections to it.
 *
 * ```ts
 * await sandbox.commands.spawn("python3 -m http.server 8000");
 * const { url } = await sandbox.ports.token(8000, { ttl: "10m" });
 * console.log(`open ${url}`);
 * ```
 */
export class Ports {
  readonly #http: HttpClient;
  readonly #path: string;

  /** Made by `Sandbox`; by hand where there is only the token of a port, whose `connect` is then all that works. */
  constructor(http: HttpClient, sandboxId: string) {
    this.#http = http;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}/ports`;
  }

  /**
   * Ports that listen, and those whose visibility was set, by number.
   *
   * ```ts
   * for (const { port, command, url } of await sandbox.ports.list()) console.log(port, command, url);
   * ```
   */
  async list(options: CallOptions = {}): Promise<readonly Port[]> {
    return (await this.#http.json<PortList>({ ...options, method: "GET", path: this.#path })).items;
  }

  /**
   * Address of a port's preview. It opens for a key, for whoever has the link that `token` makes, and for anyone once the port
   * is public; whether anything listens there is not asked.
   *
   * ```ts
   * console.log(await sandbox.ports.url(8000));
   * ```
   */
  async url(port: number, options: CallOptions = {}): Promise<string> {
    return (await this.#http.json<PortVisibility>({ ...options, method: "GET", path: `${this.#path}/${port}` })).url;
  }

  /**
   * Lets anyone who knows the address see a port, or, with `public: false`, only keeps it in the list. It holds until
   * `unpublish` or the end of the sandbox.
   *
   * ```ts
   * const { url } = await sandbox.ports.publish(8000);
   * ```
   */
  async publish(port: number, options: CallOptions & { readonly public?: boolean | undefined } = {}): Promise<PortVisibility> {
    const { signal, timeoutMs, public: open = true } = options;
    return this.#http.json({ signal, timeoutMs, method: "PUT", path: `${this.#path}/${port}`, json: { public: open }, idempotent: true });
  }

  /**
   * Makes a port private again. Repeating it is fine.
   *
   * ```ts
   * await sandbox.ports.unpublish(8000);
   * ```
   */
  async unpublish(port: number, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ ...options, method: "DELETE", path: `${this.#path}/${port}` });
  }

  /**
   * A link that opens one port in a browser until its time, and the token in it.
   *
   * ```ts
   * const { url, expires_at } = await sandbox.ports.token(8000, { ttl: "2h" });
   * ```
   */
  async token(port: number, options: CallOptions & { readonly ttl?: string | undefined } = {}): Promise<PortToken> {
    const { signal, timeoutMs, ttl } = options;
    return this.#http.json({
      signal,
      timeoutMs,
      method: "POST",
      path: `${this.#path}/${port}/token`,
      json: ttl === undefined ? {} : { ttl },
    });
  }

  /**
   * A TCP connection to a port, as a pair of streams; for what is not HTTP. Works in browsers too. Throws
   * `connection_refused` when nothing listens there.
   *
   * ```ts
   * const echo = "import socket; s = socket.create_server(('127.0.0.1', 7000)); c, _ = s.accept(); c.sendall(c.recv(99))";
   * await sandbox.commands.spawn(["python3", "-c", echo]);
   * while (!(await sandbox.ports.list()).some((one) => one.port === 7000));
   * using connection = await sandbox.ports.connect(7000);
   * const writer = connection.writable.getWriter();
   * await writer.write(new TextEncoder().encode("hello"));
   * await writer.close();
   * for await (const bytes of connection.readable) console.log(new TextDecoder().decode(bytes));
   * ```
   */
  async connect(port: number, options: ConnectPortOptions = {}): Promise<PortConnection> {
    const { signal, window = WINDOW } = options;
    const connection = await openSocket(this.#http, {
      path: `${this.#path}/${port}/connect`,
      query: { window },
      protocol: TCP_PROTOCOL,
      token: async () => (await this.token(port, { ttl: "1m", signal, timeoutMs: OPENING_MS })).token,
      attach: (socket) => new PortConnection(socket, window, signal),
      signal,
    });
    await connection.connected;
    return connection;
  }
}
