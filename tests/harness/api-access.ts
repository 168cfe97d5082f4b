import { Caisson } from "@caisson/sdk";

/** How a test speaks to the API of an installation: of one server, or of several behind one address. */
export abstract class ApiAccess {
  /** Where it is, without a path. */
  abstract readonly url: string;
  abstract readonly apiKey: string;
  abstract readonly adminKey: string;
  /** Variables with which the CLI finds it. */
  abstract readonly cliEnv: Record<string, string>;

  /** A client of its own. */
  client(options: { readonly timeoutMs?: number } = {}): Caisson {
    return new Caisson({ url: this.url, apiKey: this.apiKey, ...options });
  }

  /** One request with the API key; JSON in, the response out. */
  async fetch(
    method: string,
    path: string,
    body?: unknown,
    init: { signal?: AbortSignal; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    return fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { "x-api-key": this.apiKey, ...(body === undefined ? {} : { "content-type": "application/json" }), ...init.headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(init.signal === undefined ? {} : { signal: init.signal }),
    });
  }

  /** One request whose JSON answer is wanted; throws with the body when it failed. */
  async json<T>(method: string, path: string, body?: unknown, init: { headers?: Record<string, string> } = {}): Promise<T> {
    const response = await this.fetch(method, path, body, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }
}
