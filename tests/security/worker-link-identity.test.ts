import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock, systemRandom, type Event, type Heartbeat, type Worker, type WorkerInvitation } from "@caisson/contract";
import { Link } from "@caisson/link";
import { Sandbox } from "@caisson/sdk";
import { joinInstallation, KnownControlPlanes, RegisteredSource, type WorkerCredentialSource } from "@caisson/worker";
import { ControlClient, dialLink, workerLinkOptions, type Dialled } from "@caisson/worker-link";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { ONLY_MOCK, SHARED_TOKEN, TestWorker } from "../harness/worker.ts";

/** Far more than the time between two heartbeats. */
const PATIENCE = { timeout: 60_000 };
const NO_SUCH_SANDBOX = "sb000000000000000000000";

let server: TestServer;
let honest: TestWorker;
let dir = "";
let source: RegisteredSource;
const links: Link[] = [];

beforeAll(async () => {
  server = await TestServer.start({ ...SHARED_TOKEN, ...ONLY_MOCK, CAISSON_SERVER__LOCAL_WORKER: "off" });
  honest = await TestWorker.start(server, "worker-b", ONLY_MOCK);
  dir = await mkdtemp(join(tmpdir(), "caisson-thief-"));
  source = await register("worker-a");
});
afterAll(async () => {
  for (const link of links) link.close();
  source[Symbol.dispose]();
  await server.destroyAll();
  await honest[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

const asAdmin = (): Record<string, string> => ({ "x-api-key": server.adminKey });

async function register(id: string): Promise<RegisteredSource> {
  const { token } = await server.json<WorkerInvitation>("POST", "/workers", { id }, { headers: asAdmin() });
  const identity = await joinInstallation({ dir, url: server.url, token, caCertificates: [], clock: systemClock });
  const known = await KnownControlPlanes.open({ dir, workerId: id, clock: systemClock, random: systemRandom });
  return RegisteredSource.open({ dir, identity, known, caCertificates: [], urls: () => [], clock: systemClock, log: () => undefined });
}

const dial = (headers: Readonly<Record<string, string>>): Promise<Dialled> =>
  dialLink({ url: server.url, headers, unreachable: "server_unreachable", signal: AbortSignal.timeout(20_000) });

/** Links as a worker does: the first answer brings the nonce. */
async function connect(by: WorkerCredentialSource, change: Readonly<Record<string, string>> = {}): Promise<Dialled> {
  const first = await dial({ ...(await by.headers(undefined)), ...change });
  if (first.kind === "switched" || first.nonce === undefined) return first;
  return dial({ ...(await by.headers(first.nonce)), ...change });
}

async function linked(): Promise<{ readonly link: Link; readonly control: ControlClient }> {
  const dialled = await connect(source);
  if (dialled.kind === "refused") throw dialled.error;
  // It answers whatever it is asked with nonsense: what a control plane must live with.
  const link = new Link(
    dialled.stream,
    workerLinkOptions(dialled.stream, "worker", "dialler", (call) => call.reply({}, { fin: true })),
  );
  links.push(link);
  await link.ready;
  return { link, control: new ControlClient(link) };
}

let sequence = 0;
function heartbeat(session: string): Heartbeat {
  const amounts = { vcpus: 1, memory_mb: 64, disk_mb: 64, sandboxes: 0 };
  return {
    session,
    sequence: ++sequence,
    version: "0.1.0",
    now: Date.now(),
    draining: true,
    labels: {},
    capacity: amounts,
    used: amounts,
    providers_digest: "",
    images: [],
    preview_domain: null,
    preview_url: null,
    public_url: null,
    advertise_addr: null,
    on_control_loss: "run",
  };
}

const refusals = async (): Promise<unknown[]> => {
  const { items } = await server.json<{ items: Event[] }>("GET", "/events?type=worker.refused&limit=1000");
  return items.filter((event) => event.resource_id === "worker-a").map((event) => event.data["reason"]);
};

it("a worker speaks of its own sandboxes only, and a lie is refused and reported", { timeout: 180_000 }, async () => {
  const sandbox = await Sandbox.create({ worker_id: "worker-b" }, { client: server.client() });
  const { control, link } = await linked();
  await control.heartbeat(heartbeat("thief"));
  const of = { sandbox_id: sandbox.id, epoch: 1 };
  for (const epoch of [0, 1, 2, 1_000_000]) {
    await expect(control.report({ ...of, epoch })).rejects.toMatchObject({ code: "forbidden" });
    await expect(control.processesChanged({ ...of, epoch, key_name: "admin" })).rejects.toMatchObject({ code: "forbidden" });
    await expect(control.portAccess({ ...of, epoch, port: 80 })).rejects.toMatchObject({ code: "forbidden" });
  }
  await expect(control.report({ sandbox_id: NO_SUCH_SANDBOX, epoch: 1 })).rejects.toMatchObject({ code: "forbidden" });
  for (const method of ["worker.read_file", "worker.exec", "worker.destroy", "worker.inventory", "control.no_such", "ReadFile"]) {
    const channel = link.open(method, { sandbox_id: sandbox.id, epoch: 1, params: { path: "/etc/passwd" } }, { noInput: true });
    await expect(channel.reply).rejects.toMatchObject({ name: "CaissonError" });
  }
  await expect.poll(refusals).toEqual(expect.arrayContaining(["foreign_sandbox", "unknown_sandbox"]));
  expect(await server.json<object>("GET", `/sandboxes/${sandbox.id}`)).toMatchObject({ state: "running", worker_id: "worker-b" });
  expect((await sandbox.commands.run("true")).exitCode).toBe(0);
  link.close();
});

it("a token of one worker opens no link as another, nor without its key, nor a second time", { timeout: 180_000 }, async () => {
  expect(await connect(source, { "x-worker-id": "worker-b" })).toMatchObject({
    kind: "refused",
    error: { detail: { reason: "wrong_worker" } },
  });
  expect(await connect(source, { "x-worker-proof": "eyJhbGciOiJub25lIn0.e30." })).toMatchObject({
    kind: "refused",
    error: { detail: { reason: "proof_invalid" } },
  });
  const first = await dial(await source.headers(undefined));
  const headers = await source.headers(first.kind === "refused" ? first.nonce : undefined);
  const switched = await dial(headers);
  expect(switched.kind).toBe("switched");
  if (switched.kind === "switched") switched.stream.destroy();
  expect(await dial(headers)).toMatchObject({ kind: "refused", error: { detail: { reason: "nonce_used" } } });
  // The shared token, which the thief may know, does not make him a worker that is registered.
  const shared = { authorization: `Bearer ${SHARED_TOKEN["CAISSON_AUTH__WORKER_TOKEN"] ?? ""}`, "x-worker-id": "worker-a" };
  expect(await dial(shared)).toMatchObject({ kind: "refused", error: { detail: { reason: "registered_elsewhere" } } });
  expect(await refusals()).toEqual(expect.arrayContaining(["wrong_worker", "nonce_used", "registered_elsewhere"]));
  expect(await server.json<Worker>("GET", "/workers/worker-b")).toMatchObject({ state: "online", credential: "shared" });
});

it("a revoked worker is out at once, and nobody else is", { timeout: 180_000 }, async () => {
  const { control, link } = await linked();
  await control.heartbeat(heartbeat("to-be-revoked"));
  await server.json("POST", "/workers/worker-a/revoke", {}, { headers: asAdmin() });
  await expect(control.heartbeat(heartbeat("to-be-revoked"))).rejects.toMatchObject({ name: "CaissonError" });
  expect(await link.closed).toMatchObject({ code: "unauthorized" });
  expect(await connect(source)).toMatchObject({ kind: "refused", error: { detail: { reason: "revoked" } } });
  expect(await source.refused()).toBe("gone");
  expect(await server.json<Worker>("GET", "/workers/worker-b")).toMatchObject({ state: "online" });

  source[Symbol.dispose]();
  source = await register("worker-a");
  const again = await linked();
  await again.control.heartbeat(heartbeat("joined-again"));
  await expect.poll(async () => (await server.json<Worker>("GET", "/workers/worker-a")).credential, PATIENCE).toBe("certificate");
});
