import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What a test answers to one request. */
export type Answer = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void | Promise<void>;

/** A real HTTP server on loopback that says what a test wants, right or wrong. */
export class HttpPeer implements AsyncDisposable {
  readonly url: string;
  /** `METHOD path?query` of every request, in order. */
  readonly requests: string[] = [];
  readonly #server: Server;

  private constructor(server: Server, requests: string[]) {
    this.#server = server;
    this.requests = requests;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async listen(answer: Answer): Promise<HttpPeer> {
    const requests: string[] = [];
    const server = createServer((request, response) => {
      requests.push(`${request.method} ${request.url}`);
      const pieces: Buffer[] = [];
      request.on("data", (piece: Buffer) => pieces.push(piece));
      request.on("end", () => void Promise.resolve(answer(request, response, Buffer.concat(pieces))).catch(() => response.destroy()));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new HttpPeer(server, requests);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** Answers with JSON. */
export function sendJson(response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

/** A sandbox as the API shows it. */
export function sandboxJson(id: string): Record<string, unknown> {
  return { id, state: "running", reason: null, image: "host", provider: "mock", worker_id: "local", metadata: {} };
}
