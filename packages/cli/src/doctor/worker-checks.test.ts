import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configSchema, type Config, type ConfigInput } from "@caisson/contract";
import { afterEach, expect, it } from "vitest";
import { checkWorker, isWorker } from "./worker-checks.ts";

let server: Server | undefined;
afterEach(() => server?.close());

/** A control plane that answers like this. */
async function controlPlane(answer: RequestListener): Promise<string> {
  server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const config = (worker: ConfigInput["worker"]): Config => configSchema.parse({ worker: { id: "worker-a", ...worker } });
const states = async (worker: ConfigInput["worker"]): Promise<Record<string, string>> =>
  Object.fromEntries((await checkWorker(config(worker))).map(({ name, state, detail }) => [name.split(" http")[0], `${state}: ${detail}`]));

it("finds nothing wrong with a worker that reaches its control plane", async () => {
  const url = await controlPlane((_request, response) => response.end("{}"));
  expect(await states({ control_plane_url: url })).toEqual({
    "worker id": "ok: worker-a",
    "control plane": "ok: answers",
    clock: "ok: agrees with the control plane's",
    "being dialled": "ok: not needed: it dials out (worker.listen_addr is not set)",
  });
});

it.each([
  [3_600_000, "behind"],
  [-60_000, "ahead of"],
])("tells of a clock that is %i ms off", async (ms, way) => {
  const url = await controlPlane((_request, response) => response.setHeader("date", new Date(Date.now() + ms).toUTCString()).end("{}"));
  const [, seconds, told] = /^warn: is (\d+) s (behind|ahead of) /.exec((await states({ control_plane_url: url })).clock ?? "") ?? [];
  expect(told).toBe(way);
  // The date has whole seconds, and the answer takes some time.
  expect(Math.abs(Number(seconds) - Math.abs(ms) / 1000)).toBeLessThan(5);
});

it("tells of a control plane that is not there, or is something else", async () => {
  const url = await controlPlane((_request, response) => response.writeHead(404).end());
  expect((await states({ control_plane_url: url }))["control plane"]).toBe("warn: answers with HTTP status 404: not Caisson?");
  const gone = new Promise((resolve) => server?.close(resolve));
  server?.closeAllConnections();
  await gone;
  expect((await states({ control_plane_url: url }))["control plane"]).toBe("warn: does not answer: ECONNREFUSED");
});

it("tells when nobody can know where it listens", async () => {
  const dialled = async (worker: ConfigInput["worker"]) =>
    (await states({ control_plane_url: "http://127.0.0.1:9", ...worker }))["being dialled"];
  expect(await dialled({ listen_addr: "0.0.0.0:7430" })).toMatch(/^warn: it listens at 0\.0\.0\.0:7430/);
  expect(await dialled({ listen_addr: "0.0.0.0:7430", advertise_addr: "worker-a.example.org:7430" })).toBe(
    "ok: at worker-a.example.org:7430",
  );
  expect(await dialled({ listen_addr: "192.0.2.77:7430" })).toBe("warn: this machine has no address 192.0.2.77");
  expect(await dialled({ listen_addr: "127.0.0.1:7430" })).toBe("ok: at 127.0.0.1:7430");
});

it("tells when it is not this worker that answers at its public address, and that it may be so from outside", async () => {
  let named = "worker-a";
  const url = await controlPlane((_request, response) => response.end(JSON.stringify({ status: "alive", worker_id: named })));
  const found = async () => (await checkWorker(config({ control_plane_url: url, listen_addr: "127.0.0.1:1", public_url: url }))).at(-1);
  expect(await found()).toEqual({ name: `public address ${url}`, state: "ok", detail: "this worker answers" });
  named = "worker-b";
  expect(await found()).toMatchObject({
    state: "warn",
    detail: "this worker is not found there from here: something else answers, or another worker",
    remedy: expect.stringContaining(`may be right all the same`) as string,
  });
});

it("is asked only where a worker is configured, or joined", () => {
  const folder = mkdtempSync(join(tmpdir(), "caisson-doctor-"));
  const here = configSchema.parse({ data_dir: folder });
  const isWorkerConfigured = (path: string | undefined, env: Record<string, string>): boolean => isWorker(here, path, env);
  writeFileSync(join(folder, "worker.yaml"), "worker:\n  id: worker-a\n");
  writeFileSync(join(folder, "server.yaml"), "server:\n  port: 1\n");
  expect(isWorkerConfigured(join(folder, "worker.yaml"), {})).toBe(true);
  expect(isWorkerConfigured(undefined, { CAISSON_CONFIG: join(folder, "worker.yaml") })).toBe(true);
  expect(isWorkerConfigured(join(folder, "server.yaml"), {})).toBe(false);
  expect(isWorkerConfigured(undefined, {})).toBe(false);
  expect(isWorkerConfigured(undefined, { CAISSON_WORKER__ID: "a" })).toBe(true);
  mkdirSync(join(folder, "joined", "worker", "identity"), { recursive: true });
  writeFileSync(join(folder, "joined", "worker", "identity", "identity.json"), "{}");
  expect(isWorkerConfigured(undefined, {})).toBe(true);
  rmSync(folder, { recursive: true });
});

it("looks at the control plane that the machine joined at, under the name it joined with", async () => {
  const url = await controlPlane((_request, response) => response.end("{}"));
  const dir = mkdtempSync(join(tmpdir(), "caisson-doctor-"));
  try {
    const end = "2030-01-01T00:00:00.000Z";
    const held = {
      token: "t",
      token_expires_at: end,
      refresh_token: "r",
      refresh_expires_at: end,
      issuer: "i",
      scopes: [],
      keys: { keys: [] },
    };
    const certified = { certificate: "c", certificate_expires_at: end, ca_certificate: "c" };
    const identity = {
      version: 1,
      control_plane_url: url,
      key: "k",
      credentials: { worker_id: "worker-j", ...held, ...certified },
      obtained_at: 0,
    };
    const folder = join(dir, "joined", "worker", "identity");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "identity.json"), JSON.stringify(identity));
    const checks = async (worker: ConfigInput["worker"]) => checkWorker(configSchema.parse({ data_dir: dir, worker }));
    expect((await checks({})).map(({ name, state }) => [name, state]).slice(0, 2)).toEqual([
      ["worker id", "ok"],
      [`control plane ${url}`, "ok"],
    ]);
    expect((await checks({ id: "worker-k", control_plane_url: url }))[0]).toMatchObject({ state: "warn" });
  } finally {
    rmSync(dir, { recursive: true });
  }
});
