import { Agent, request, type IncomingMessage } from "node:http";

/** A call of the API. */
export interface Call {
  readonly method: string;
  readonly path: string;
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sends a body beside the head, at the pace of the server. */
  readonly body?: AsyncIterable<Uint8Array>;
}

/** A client that costs as little as Node allows, so that what is measured is the server's. One connection, kept alive. */
export class LeanClient implements Disposable {
  readonly #url: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  /** A server and its key, or any address and the headers that open it. */
  constructor({ url, apiKey }: { readonly url: string; readonly apiKey?: string }, headers: Readonly<Record<string, string>> = {}) {
    this.#url = url;
    this.#headers = apiKey === undefined ? headers : { "x-api-key": apiKey, ...headers };
  }

  /** The answer once its head is here; throws when it is an error. */
  async open({ method, path, json, headers, body }: Call): Promise<IncomingMessage> {
    const text = json === undefined ? undefined : JSON.stringify(json);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const asking = request(
      `${this.#url}/api/v1${path}`,
      {
        method,
        agent: this.#agent,
        headers: {
          ...this.#headers,
          ...(text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
          ...headers,
        },
      },
      resolve,
    );
    asking.on("error", reject);
    if (body !== undefined)
      for await (const chunk of body)
        if (!asking.write(chunk)) await new Promise<void>((drained) => void asking.once("drain", () => drained()));
    asking.end(text);
    const answer = await promise;
    if ((answer.statusCode ?? 0) >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${await textOf(answer)}`);
    return answer;
  }

  /** A call whose JSON answer is wanted. */
  async json<T>(call: Call): Promise<T> {
    return JSON.parse(await textOf(await this.open(call))) as T;
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}

async function textOf(message: IncomingMessage): Promise<string> {
  message.setEncoding("utf8");
  let text = "";
  for await (const part of message) text += part as string;
  return text;
}

/** Reads an answer to its end; how many bytes it had. */
export async function drain(message: IncomingMessage): Promise<number> {
  let bytes = 0;
  message.on("data", (chunk: Buffer) => (bytes += chunk.length));
  await new Promise<void>((resolve, reject) => {
    message.once("end", resolve);
    message.once("error", reject);
  });
  return bytes;
}
