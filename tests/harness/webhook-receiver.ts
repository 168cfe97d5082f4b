import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { verifyWebhook, type WebhookMessage } from "@caisson/sdk";

/** A message that came in. */
export interface Received {
  readonly id: string;
  readonly message: WebhookMessage;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A real HTTP server that takes messages, or does not. */
export class WebhookReceiver implements AsyncDisposable {
  /** All that came, whether or not it was taken, in order. */
  readonly received: Received[] = [];
  /** Secrets that sign; what is not signed by one of them is an error of the test. */
  readonly secrets: string[] = [];
  readonly errors: unknown[] = [];
  /** Answers a request; `count` says which one it is, from 1. */
  answer: (response: ServerResponse, count: number, received: Received) => void = (response) => void response.writeHead(204).end();
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#take(request, response).catch((error: unknown) => {
        this.errors.push(error);
        response.writeHead(401).end();
      });
    });
  }

  static async listen(): Promise<WebhookReceiver> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new WebhookReceiver(server);
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook`;
  }

  /** Positions of the events that came, in order. */
  get seqs(): unknown[] {
    return this.received.map(({ message }) => message.data["seq" as keyof WebhookMessage["data"]]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces).toString();
    const tries = await Promise.allSettled(this.secrets.map((secret) => verifyWebhook(body, request.headers, secret)));
    const verified = tries.find((one) => one.status === "fulfilled");
    if (verified === undefined) throw new Error(`a message that no secret signed: ${body}`);
    const received = { id: String(request.headers["webhook-id"]), message: verified.value, headers: request.headers, body };
    this.received.push(received);
    this.answer(response, this.received.length, received);
  }
}
