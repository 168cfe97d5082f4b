import { globSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Worker } from "@caisson/contract";
import { ApiAccess } from "../api-access.ts";
import { TestPostgres } from "../postgres.ts";
import { TestServer } from "../server.ts";
import { SandboxTarget } from "../../sandbox-suite/sandbox-target.ts";
import { Forwarder, type Target } from "./forwarder.ts";
import { LabNetwork } from "./lab-network.ts";
import { inNamespace, LabPlace } from "./lab-place.ts";
import { LabWorker } from "./lab-worker.ts";

const PORT = 7423;
/** First port on which a gateway takes what its node sends to control planes. */
const GATEWAY_PORT = 9_000;
const API_KEY = "lab-api-key-0123456789";
const ADMIN_KEY = "lab-admin-key-0123456789";

/** How large an installation is, and how it is set up. */
export interface LabShape {
  readonly controlPlanes: number;
  readonly workers: number;
  /** Workers behind NAT of their own, through a gateway that can make them late. */
  readonly nat?: readonly string[];
  /** Workers that register, with a key of their own; the others have a static token each. */
  readonly joined?: readonly string[];
  /** Variables of every control plane, over those that the lab needs. */
  readonly controlEnv?: Readonly<Record<string, string>>;
  /** Variables of every worker. */
  readonly workerEnv?: Readonly<Record<string, string>>;
  /** How far the clock of a worker is off, as `faketime` takes it: `+1h`. */
  readonly clocks?: Readonly<Record<string, string>>;
}

/** Several servers behind one address: each connection goes to one that takes it. */
class Door extends ApiAccess {
  readonly url: string;
  readonly apiKey: string = API_KEY;
  readonly adminKey: string = ADMIN_KEY;

  constructor(port: number) {
    super();
    this.url = `http://127.0.0.1:${port}`;
  }

  get cliEnv(): Record<string, string> {
    const { PATH = "", HOME = "/root" } = process.env;
    return { PATH, HOME, CAISSON_URL: this.url, CAISSON_API_KEY: this.apiKey, CAISSON_ADMIN_API_KEY: this.adminKey };
  }
}

/**
 * A whole installation in network namespaces of its own: control planes on one PostgreSQL, workers, and a node from which the
 * test reaches the control planes. Nodes are named `cp1`…, `pg`, `w1`… and `client`.
 */
export class Lab implements AsyncDisposable {
  readonly #place: LabPlace;
  readonly network: LabNetwork;
  readonly controls: TestServer[] = [];
  readonly workers: LabWorker[] = [];
  readonly #forwarders = new Map<string, Forwarder>();
  #postgres: TestPostgres | undefined;
  #door: Door | undefined;

  private constructor(place: LabPlace, network: LabNetwork) {
    this.#place = place;
    this.network = network;
  }

  /** Starts all of it; resolves when every worker is online and has a link with every control plane. */
  static async start(shape: LabShape): Promise<Lab> {
    const place = await LabPlace.make();
    const lab = new Lab(place, await LabNetwork.make(place));
    try {
      await lab.#start(shape);
    } catch (error) {
      console.log(lab.report());
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  /** Any control plane that takes the connection. */
  get api(): ApiAccess {
    if (this.#door === undefined) throw new Error("the lab is not up");
    return this.#door;
  }

  get postgres(): TestPostgres {
    if (this.#postgres === undefined) throw new Error("the lab is not up");
    return this.#postgres;
  }

  worker(name: string): LabWorker {
    const worker = this.workers.find((one) => one.id === name);
    if (worker === undefined) throw new Error(`the lab has no worker ${name}`);
    return worker;
  }

  control(name: string): TestServer {
    const control = this.controls[Number(name.slice("cp".length)) - 1];
    if (control === undefined) throw new Error(`the lab has no control plane ${name}`);
    return control;
  }

  /** What stands between a node behind NAT and the others. */
  gateway(name: string): Forwarder {
    const forwarder = this.#forwarders.get(name);
    if (forwarder === undefined) throw new Error(`${name} has no gateway`);
    return forwarder;
  }

  /** Data folders of the workers, by worker. */
  get workerDirs(): Map<string, string> {
    return new Map(this.workers.map((worker) => [worker.id, worker.dataDir]));
  }

  /** The sandbox suite against one worker, through any control plane. */
  target(workerId: string): SandboxTarget {
    const worker = this.worker(workerId);
    return new SandboxTarget(this.api, {
      request: { worker_id: workerId },
      workerDir: worker.dataDir,
      previewDomain: null,
      traces: () => ({
        output: [...this.controls, worker].map((one) => one.output).join("\n"),
        folders: [worker.dataDir, ...this.controls.map((one) => one.dataDir)],
      }),
    });
  }

  /** The end of what every process wrote, for a test that failed; `CAISSON_LAB_LOGS` names a folder that gets all of it. */
  report(): string {
    const folder = process.env.CAISSON_LAB_LOGS;
    if (folder !== undefined) this.#writeLogs(folder);
    const all = [
      ...this.controls.map((one, i) => [`cp${i + 1}`, withoutRequests(one.output)]),
      ...this.workers.map((one) => [one.id, one.output]),
    ];
    return all.map(([name, output]) => `== ${name}\n${output?.slice(-4_000)}`).join("\n");
  }

  #writeLogs(folder: string): void {
    mkdirSync(folder, { recursive: true });
    for (const [i, { output }] of this.controls.entries()) writeFileSync(join(folder, `cp${i + 1}.log`), output);
    for (const { id, output } of this.workers) writeFileSync(join(folder, `${id}.log`), output);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const forwarder of this.#forwarders.values()) await forwarder[Symbol.asyncDispose]();
    // Whatever was started runs in one of its namespaces, and ends with them.
    await this.#place.remove();
  }

  async #start(shape: LabShape): Promise<void> {
    const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i + 1}`);
    const controls = names("cp", shape.controlPlanes);
    const workers = names("w", shape.workers);
    for (const name of ["client", "pg", ...controls]) await this.network.add(name);
    for (const name of workers) await this.network.add(name, { nat: shape.nat?.includes(name) === true });
    const targets = controls.map((name): Target => ({ host: this.network.node(name).address, port: PORT }));

    const client = this.#forward("client", this.network.node("client").namespace);
    this.#door = new Door(await client.door(targets));
    const { address, namespace } = this.network.node("pg");
    this.#postgres = await TestPostgres.start({
      at: { prefix: inNamespace(namespace), address, folder: join(this.#place.folder, "pg") },
    });
    const dsn = this.#postgres.makeDatabase();
    // The first one makes the tables; the others find them.
    const [first = "", ...others] = controls;
    this.controls.push(await this.#control(first, dsn, client, shape));
    this.controls.push(...(await Promise.all(others.map((name) => this.#control(name, dsn, client, shape)))));
    for (const name of shape.nat ?? []) await this.#gateway(name, targets);
    for (const name of workers) this.workers.push(this.#worker(name, targets, shape));
    await Promise.all(this.workers.map((worker) => this.#first(worker, targets[0], shape)));
    await this.untilWorkers("online");
    await this.#untilLinked(targets);
  }

  /** A worker is online as soon as one control plane has heard of it, and takes seconds to be heard by them all. */
  async #untilLinked(controls: readonly Target[]): Promise<void> {
    const told = controls.map(({ host, port }) => `Connected to http://${host}:${port}`);
    const linked = ({ output }: LabWorker): boolean => told.every((line) => output.includes(line));
    const deadline = performance.now() + 60_000;
    while (!this.workers.every(linked)) {
      if (performance.now() > deadline) throw new Error("not every worker has a link with every control plane");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Resolves when the API shows every worker in this state, not late, and says what it can do. */
  async untilWorkers(state: string, timeoutMs = 120_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const shown = await this.shownWorkers().catch(() => new Map<string, string>());
      const wrong = this.workers.filter(({ id }) => shown.get(id) !== state);
      if (wrong.length === 0) return;
      if (performance.now() > deadline) throw new Error(`workers are shown as ${JSON.stringify([...shown])}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Mends whatever a test that failed has left broken. */
  async restore(): Promise<void> {
    await this.network.healAll();
    for (const forwarder of this.#forwarders.values()) forwarder.delay(0);
    await this.postgres.up();
    for (const one of [...this.controls, ...this.workers]) if (!one.running) await one.up();
    await this.untilWorkers("online");
  }

  /** State of each worker as the API shows it; `late` where it is, `not probed` until its providers were. */
  async shownWorkers(): Promise<Map<string, string>> {
    const headers = { "x-api-key": ADMIN_KEY };
    const page = await this.api.json<{ items: Worker[] }>("GET", "/workers", undefined, { headers });
    const shown = ({ state, late, providers }: Worker): string =>
      late && state !== "unreachable" ? "late" : providers.length === 0 ? "not probed" : state;
    return new Map(page.items.map((worker) => [worker.id, shown(worker)]));
  }

  async #control(name: string, dsn: string, client: Forwarder, shape: LabShape): Promise<TestServer> {
    const { address, namespace } = this.network.node(name);
    const env = {
      CAISSON_SERVER__HOST: address,
      CAISSON_SERVER__PORT: String(PORT),
      CAISSON_SERVER__ADVERTISE_URL: `http://${address}:${PORT}`,
      CAISSON_DATABASE__DRIVER: "postgres",
      CAISSON_DATABASE__DSN: dsn,
      CAISSON_AUTH__API_KEY: API_KEY,
      CAISSON_AUTH__ADMIN_API_KEY: ADMIN_KEY,
      ...(this.#tokens(shape) === "" ? {} : { CAISSON_AUTH__WORKER_TOKENS: this.#tokens(shape) }),
      ...shape.controlEnv,
    };
    const reach = async (): Promise<string> => `http://127.0.0.1:${await client.door([{ host: address, port: PORT }])}`;
    return TestServer.start(env, { prefix: inNamespace(namespace), dataDir: join(this.#place.folder, name), reach });
  }

  #tokens({ workers, joined = [] }: LabShape): string {
    const names = Array.from({ length: workers }, (_, i) => `w${i + 1}`).filter((name) => !joined.includes(name));
    return names.map((name) => `${name}=${tokenOf(name)}`).join(",");
  }

  /** The first start of a worker; one that registers joins before. */
  async #first(worker: LabWorker, control: Target | undefined, shape: LabShape): Promise<void> {
    if (shape.joined?.includes(worker.id) === true) {
      const headers = { "x-api-key": ADMIN_KEY };
      const { token } = await this.api.json<{ token: string }>("POST", "/workers", { id: worker.id }, { headers });
      await worker.join(`http://${control?.host}:${control?.port}`, token);
    }
    await worker.up();
  }

  async #gateway(name: string, targets: readonly Target[]): Promise<void> {
    const { gateway } = this.network.node(name);
    if (gateway === undefined) return;
    const forwarder = this.#forward(name, gateway);
    for (const [i, target] of targets.entries()) {
      await forwarder.listen(GATEWAY_PORT + i, [target]);
      await this.network.redirect(name, { address: target.host, port: target.port }, GATEWAY_PORT + i);
    }
  }

  #forward(name: string, namespace: string): Forwarder {
    const forwarder = Forwarder.start(namespace);
    this.#forwarders.set(name, forwarder);
    return forwarder;
  }

  #worker(name: string, targets: readonly Target[], shape: LabShape): LabWorker {
    // Each begins with another control plane.
    const first = targets[this.workers.length % targets.length];
    const env = {
      CAISSON_WORKER__ID: name,
      CAISSON_WORKER__CONTROL_PLANE_URL: `http://${first?.host}:${first?.port}`,
      ...(shape.joined?.includes(name) === true ? {} : { CAISSON_AUTH__WORKER_TOKEN: tokenOf(name) }),
      ...shape.workerEnv,
    };
    const prefix = [...inNamespace(this.network.node(name).namespace), ...clockWords(shape.clocks?.[name])];
    return new LabWorker(name, { prefix, dataDir: join(this.#place.folder, name), env });
  }
}

/** A server's log without the requests that were answered. */
function withoutRequests(output: string): string {
  return output
    .split("\n")
    .filter((line) => !/"outcome":"ok"|"status":2\d\d/.test(line))
    .join("\n");
}

function tokenOf(name: string): string {
  return `lab-token-of-${name}-0123456789`;
}

/** Words that have a command see another time of day; its monotonic clock stays as it is. */
function clockWords(offset: string | undefined): string[] {
  if (offset === undefined) return [];
  const [library] = globSync("/usr/lib/*/faketime/libfaketime.so.1");
  if (library === undefined) throw new Error("faketime is not installed");
  return ["env", `LD_PRELOAD=${library}`, `FAKETIME=${offset}`, "FAKETIME_DONT_FAKE_MONOTONIC=1"];
}
