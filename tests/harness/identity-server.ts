import { createServer as createHttp, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { isCaissonError, systemRandom, toCaissonError, toProblem, type RefreshWorker, type RegisterWorker } from "@caisson/contract";
import { RegisteredIdentities } from "@caisson/control";
import { openSqlite, type Store } from "@caisson/store";

/** What goes wrong with the next request: it is never heard, or its answer never arrives. */
export type Fault = "lose_request" | "lose_answer";

/** A control plane that only registers and renews workers, over a clock and faults that tests own. */
export class IdentityServer implements AsyncDisposable {
  readonly store: Store;
  readonly identities: RegisteredIdentities;
  readonly url: string;
  readonly #server: Server;
  readonly #time: { now: number };
  /** Faults of the next requests, in order. */
  faults: Fault[] = [];
  /** Called when a request was answered, or lost. */
  onRequest: (path: string) => void = () => undefined;

  private constructor(store: Store, identities: RegisteredIdentities, server: Server, url: string, time: { now: number }) {
    this.store = store;
    this.identities = identities;
    this.#server = server;
    this.url = url;
    this.#time = time;
  }

  static async open(tls?: { readonly key: string; readonly cert: string }): Promise<IdentityServer> {
    const time = { now: Date.now() };
    const clock = { now: () => time.now };
    const store = await openSqlite({ path: ":memory:", clock });
    const quiet = (): void => undefined;
    const identities = new RegisteredIdentities({
      store,
      clock,
      random: systemRandom,
      tokens: { shared: () => Promise.resolve(undefined), own: {} },
      logger: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    });
    const listener: RequestListener = (request, response) => void opened.#answer(request, response);
    const server =
      tls === undefined
        ? createHttp(listener)
        : (createHttps({ ...tls, requestCert: true, rejectUnauthorized: false }, listener) as Server);
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const opened = new IdentityServer(store, identities, server, `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`, time);
    return opened;
  }

  /** The time of the control plane, in ms since the Unix epoch. */
  get now(): number {
    return this.#time.now;
  }

  advance(ms: number): void {
    this.#time.now += ms;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const fault = this.faults.shift();
    const path = request.url ?? "";
    if (fault === "lose_request") {
      request.socket.destroy();
      return this.onRequest(path);
    }
    let status = 200;
    let body: unknown;
    try {
      const asked: unknown = JSON.parse(Buffer.concat(pieces).toString());
      body = path.endsWith("/register")
        ? await this.identities.register(asked as RegisterWorker)
        : await this.identities.refresh(asked as RefreshWorker);
    } catch (error) {
      const told = toCaissonError(error);
      status = told.entry.status;
      body = toProblem(told);
      if (!isCaissonError(error)) throw error;
    }
    if (fault === "lose_answer") request.socket.destroy();
    else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    this.onRequest(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => void this.#server.close(resolve));
    await this.store.close();
  }
}
