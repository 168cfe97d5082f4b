import { Agent, request, type RequestOptions } from "node:http";
import process from "node:process";

/** What a client process is to do; it gets it as JSON in its first argument. */
export interface ClientLoad {
  /** Addresses of control planes; connections are shared out among them. */
  readonly urls: readonly string[];
  readonly apiKey: string;
  /** Requests under way at once. */
  readonly connections: number;
  /** How long it asks, in ms. What comes before `warmUpMs` is not counted. */
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly method: "GET" | "POST";
  /** Path below `/api/v1`. */
  readonly path: string;
  readonly body?: unknown;
}

/** What it saw. Times in ms. */
export interface ClientReport {
  /** How long it counted. */
  readonly countedMs: number;
  readonly times: readonly number[];
  /** CPU time of the client from its first request to its last answer, in ms. */
  readonly cpuMs: number;
  /** Answers that were no success, by status. */
  readonly failures: Readonly<Record<string, number>>;
}

/*
 * A process of its own, so that the load costs the servers nothing but the machine's time. Each connection sends the next
 * request when it has the answer to the last.
 */
const load = JSON.parse(process.argv[2] ?? "null") as ClientLoad | null;
if (load !== null) process.stdout.write(JSON.stringify(await run(load)));

async function run(load: ClientLoad): Promise<ClientReport> {
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
  const times: number[] = [];
  const failures: Record<string, number> = {};
  const used = process.cpuUsage();
  const begun = performance.now();
  const counted = begun + load.warmUpMs;
  const end = begun + load.durationMs;
  const body = load.body === undefined ? undefined : Buffer.from(JSON.stringify(load.body));
  const connection = async (url: string): Promise<void> => {
    const options = requestOptions(agent, url, load, body);
    while (performance.now() < end) {
      const start = performance.now();
      const status = await ask(options, body);
      if (start < counted) continue;
      if (status >= 200 && status < 300) times.push(performance.now() - start);
      else failures[status] = (failures[status] ?? 0) + 1;
    }
  };
  const urls = Array.from({ length: load.connections }, (_, i) => load.urls[i % load.urls.length] ?? "");
  await Promise.all(urls.map(connection));
  const { user, system } = process.cpuUsage(used);
  agent.destroy();
  return { countedMs: performance.now() - counted, times, cpuMs: (user + system) / 1000, failures };
}

/** What is the same for every request to a control plane: its address is not read again for each. */
function requestOptions(agent: Agent, url: string, load: ClientLoad, body: Buffer | undefined): RequestOptions {
  const { hostname, port, pathname, search } = new URL(`${url}/api/v1${load.path}`);
  const sent = body === undefined ? {} : { "content-type": "application/json", "content-length": String(body.length) };
  return { agent, hostname, port, path: pathname + search, method: load.method, headers: { "x-api-key": load.apiKey, ...sent } };
}

/** The status of an answer that was read to its end; 0 when there was none. */
function ask(options: RequestOptions, body: Buffer | undefined): Promise<number> {
  return new Promise((resolve) => {
    const asking = request(options, (answer) => {
      answer.resume();
      answer.once("end", () => resolve(answer.statusCode ?? 0));
      answer.once("error", () => resolve(0));
    });
    asking.once("error", () => resolve(0));
    asking.end(body);
  });
}
