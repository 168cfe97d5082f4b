import { once } from "node:events";
import { request, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import { connect, type Socket } from "node:net";

/** An answer, whole. */
export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What to ask of a server, under any Host. */
export interface Asked {
  readonly method?: string;
  readonly host?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer | AsyncIterable<Buffer>;
}

/** Sends a request over a connection of its own and gives its answer when the head is there. */
export async function begin(url: string, path: string, asked: Asked = {}): Promise<IncomingMessage> {
  const { hostname, port, host } = new URL(url);
  const { body } = asked;
  const outgoing = request({
    host: hostname,
    port,
    path,
    method: asked.method ?? "GET",
    agent: false,
    headers: { host: asked.host ?? host, ...asked.headers },
  });
  const response = once(outgoing, "response") as Promise<[IncomingMessage]>;
  // Whoever waits for the answer, or reads it, hears of a connection that breaks; one who still sends the body may be neither.
  outgoing.on("error", () => undefined);
  response.catch(() => undefined);
  if (body === undefined || typeof body === "string" || Buffer.isBuffer(body)) outgoing.end(body);
  else {
    for await (const chunk of body) if (!outgoing.write(chunk)) await once(outgoing, "drain");
    outgoing.end();
  }
  return (await response)[0];
}

/** Sends a request and gives its whole answer. */
export async function ask(url: string, path: string, asked: Asked = {}): Promise<Answered> {
  const answer = await begin(url, path, asked);
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) };
}

/** Sends bytes as they are and gives what came back until the other side closed the connection. */
export async function sendRaw(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket: Socket = connect({ host: hostname, port: Number(port) });
  await once(socket, "connect");
  socket.write(Buffer.from(bytes, "latin1"));
  let text = "";
  socket.on("error", () => undefined); // a connection that is broken has said what it had to say
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
  });
  await new Promise((resolve) => socket.once("close", resolve));
  return text;
}
