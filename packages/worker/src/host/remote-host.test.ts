import { createHash, randomBytes } from "node:crypto";
import {
  CaissonError,
  newId,
  SCOPES,
  systemRandom,
  type CallOptions,
  type HostSandbox,
  type Scope,
  type StartSandbox,
} from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LinkedHost, type Join } from "../testing/linked-host.ts";

const freshId = (): string => newId("sandbox", Date.now(), systemRandom);
function spec(sandboxId: string, more: Partial<StartSandbox> = {}): StartSandbox {
  return { sandboxId, epoch: 1, provider: "mock", image: "host", resources: {}, env: {}, network: "none", ...more };
}
const code = (wanted: string): { code: string } => expect.objectContaining({ code: wanted }) as { code: string };

let linked: LinkedHost;
afterEach(() => linked[Symbol.asyncDispose]());

describe.each<Join>(["pair", "tcp"])("a far worker over %s", (how) => {
  beforeEach(async () => {
    linked = await LinkedHost.open(how);
  });

  it("starts, tells of, lists and ends a sandbox as the near one does", async () => {
    const { local, remote } = linked;
    const id = freshId();
    const box = await remote.start(spec(id, { user: "root", workdir: "/tmp" }));
    expect(box).toEqual(await local.inspect(id));
    expect(await remote.start(spec(id))).toEqual(box);
    expect(await remote.inspect(id)).toEqual(box);
    expect(await remote.inventory()).toEqual(await local.inventory());
    expect(await remote.describe()).toEqual(await local.describe());
    expect(await remote.usage({ sandboxId: id, epoch: 1 })).toEqual(await local.usage({ sandboxId: id, epoch: 1 }));
    await remote.destroy(box);
    await remote.destroy(box);
    expect(await remote.inspect(id)).toBeUndefined();
    expect(linked.machine.boxes.size).toBe(0);
  });

  it("passes an environment that is larger than any parameters may be", async () => {
    const env = { BIG: "x".repeat(131_072), BIG2: "y".repeat(131_072), BIG3: "ü".repeat(100_000) };
    const box = await linked.remote.start(spec(freshId(), { env }));
    expect(linked.machine.boxes.get(box.sandboxId)?.spec.env).toEqual(env);
  });

  it("runs commands, with input and output as bytes", async () => {
    const box = await linked.remote.start(spec(freshId()));
    const guest = new GuestClient(linked.remote.guest(box));
    const attached = await guest.exec({ command: "cat", stdin: true });
    await attached.write(Buffer.from("hello\n"));
    attached.closeInput();
    const out: string[] = [];
    for await (const item of attached) {
      if (item.type === "output") out.push(Buffer.from(item.bytes).toString());
      if (item.type === "exit") expect(item.exit.code).toBe(0);
    }
    expect(out.join("")).toBe("hello\n");
  });

  it("moves a file of many windows both ways, byte for byte", async () => {
    const box = await linked.remote.start(spec(freshId()));
    const guest = new GuestClient(linked.remote.guest(box));
    const bytes = randomBytes(5_000_000);
    await guest.writeFile("/tmp/big", chunks(bytes));
    const hash = createHash("sha256");
    const file = await guest.readFile("/tmp/big");
    for await (const piece of file.content) hash.update(piece);
    expect(hash.digest("hex")).toBe(createHash("sha256").update(bytes).digest("hex"));
  });

  it("refuses what the lease does not cover, with code and detail", async () => {
    const { remote } = linked;
    const box = await remote.start(spec(freshId(), { epoch: 7 }));
    const guest = (epoch: number): GuestClient => new GuestClient(remote.guest({ ...box, epoch }));
    await expect(guest(6).stats()).rejects.toMatchObject({ code: "lease_lost", detail: { epoch: 7 } });
    await expect(guest(8).stats()).rejects.toEqual(code("lease_lost"));
    await expect(remote.start(spec(box.sandboxId, { epoch: 3 }))).rejects.toMatchObject({ code: "lease_lost", detail: { epoch: 7 } });
    await expect(remote.destroy({ ...box, epoch: 3 })).rejects.toEqual(code("lease_lost"));
    await expect(new GuestClient(remote.guest({ sandboxId: freshId(), epoch: 1 })).stats()).rejects.toEqual(code("sandbox_not_found"));
    expect(await guest(7).stats()).toMatchObject({ sessions: 0 });
  });

  it("keeps the detail of a provider's error", async () => {
    linked.machine.faults.startError = new CaissonError("provider_failed", "no such kernel", { detail: { wanted: [1, 2], why: "ü" } });
    await expect(linked.remote.start(spec(freshId()))).rejects.toMatchObject({
      code: "provider_failed",
      message: "no such kernel",
      detail: { wanted: [1, 2], why: "ü" },
    });
  });

  it("reads consoles of any length, and the last and the later lines", async () => {
    const { remote, local, machine } = linked;
    const box = await remote.start(spec(freshId()));
    for (let i = 0; i < 9_000; i += 1) machine.boxes.get(box.sandboxId)?.console.push(`line ${i} ${"x".repeat(90)}`);
    for (const range of [{ lines: 10_000 }, { lines: 0 }, { lines: 3 }, { after: 0, limit: 10_000 }, { after: 4_000_000, limit: 2 }])
      expect(await remote.logs(box, range)).toEqual(await local.logs(box, range));
  });

  it("imports, lists and removes images, and tells what is wrong with an archive", async () => {
    const { remote, local } = linked;
    const wrong = Buffer.from("this is no tar archive".repeat(50_000));
    const told = await local.images.importArchive("a", chunks(wrong)).catch((error: CaissonError) => error);
    expect(told).toBeInstanceOf(CaissonError);
    const { code, message } = told as CaissonError;
    await expect(remote.images.importArchive("a", chunks(wrong))).rejects.toMatchObject({ code, message });
    expect(await remote.images.list()).toEqual(await local.images.list());
    await expect(remote.images.remove("nothing")).rejects.toMatchObject({ code: "image_not_found" });
  });

  it("calls a start off when its caller does, and lets it go on when the link breaks", async () => {
    const { remote, local, machine, near, far } = linked;
    machine.faults.startDelayMs = 60_000;
    const stop = new AbortController();
    const called = remote.start(spec(freshId()), stop.signal);
    called.catch(() => undefined);
    await expect.poll(() => machine.boxes.size + 0).toBe(0);
    stop.abort();
    await expect(called).rejects.toEqual(code("cancelled"));
    delete machine.faults.startDelayMs;
    const [begun, broken] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const start = local.start.bind(local);
    local.start = async (asked, signal) => {
      begun.resolve();
      await broken.promise;
      return start(asked, signal);
    };
    const id = freshId();
    const lost = remote.start(spec(id));
    lost.catch(() => undefined);
    // Only once the worker has it is there something that goes on.
    await begun.promise;
    near.close();
    await expect(lost).rejects.toEqual(code("worker_unavailable"));
    await far.closed;
    broken.resolve();
    await expect.poll(async () => (await local.inspect(id))?.state).toBe("running");
  });

  it("fails every call at once while there is no link, and says that it never left", async () => {
    const { remote, near } = linked;
    const box = await remote.start(spec(freshId()));
    near.close();
    await near.closed;
    const guest = new GuestClient(remote.guest(box));
    for (const call of [() => remote.describe(), () => remote.inventory(), () => remote.start(spec(freshId())), () => guest.stats()])
      await expect(call()).rejects.toMatchObject({ code: "worker_unavailable", unsent: true });
  });
});

describe("what a worker is asked", () => {
  beforeEach(async () => {
    linked = await LinkedHost.open("pair");
  });

  it("passes deadlines on to the agent", async () => {
    const seen: (CallOptions | undefined)[] = [];
    await linked[Symbol.asyncDispose]();
    linked = await LinkedHost.open("pair", {
      serve: (local) =>
        new Proxy(local, {
          get: (target, key) => {
            if (key !== "guest") {
              const member: unknown = Reflect.get(target, key, target);
              return typeof member === "function" ? (member.bind(target) as unknown) : member;
            }
            return (ref: HostSandbox) => ({
              open: (method: string, params: Record<string, unknown>, options?: CallOptions) => {
                seen.push(options);
                return target.guest(ref).open(method, params, options);
              },
            });
          },
        }),
    });
    const box = await linked.remote.start(spec(freshId()));
    await new GuestClient(linked.remote.guest(box)).stats({ deadlineMs: 1234 });
    expect(seen).toEqual([{ deadlineMs: 1234, noInput: true }]);
  });

  it("lists ten thousand sandboxes", async () => {
    const boxes: HostSandbox[] = Array.from({ length: 10_000 }, (_, i) => ({
      sandboxId: freshId(),
      epoch: i,
      state: "unhealthy",
      provider: "mock",
      runtime: null,
      image: "docker.io/library/debian:12",
      imageDigest: `sha256:${"a".repeat(64)}`,
      reason: "ü".repeat(i % 900),
    }));
    await linked[Symbol.asyncDispose]();
    linked = await LinkedHost.open("pair", {
      serve: (local) => Object.assign(Object.create(local) as typeof local, { inventory: async () => boxes }),
    });
    expect(await linked.remote.inventory()).toEqual(boxes);
  });

  it.each<[Scope, (linked: LinkedHost, box: HostSandbox) => Promise<unknown>]>([
    ["worker:spawn", ({ remote }) => remote.start(spec(freshId()))],
    ["worker:destroy", ({ remote }, box) => remote.destroy(box)],
    ["worker:status", ({ remote }) => remote.inventory()],
    ["worker:logs", ({ remote }, box) => remote.logs(box, { lines: 1 })],
    ["worker:admin", ({ remote }) => remote.images.remove("host")],
    ["worker:exec", ({ remote }, box) => new GuestClient(remote.guest(box)).exec({ command: "true" })],
    ["worker:files", ({ remote }, box) => new GuestClient(remote.guest(box)).stat("/")],
  ])("needs the scope %s", async (scope, use) => {
    await linked[Symbol.asyncDispose]();
    linked = await LinkedHost.open("pair", { scopes: new Set(SCOPES.filter((one) => one !== scope)) });
    const box = await linked.local.start(spec(freshId()));
    await expect(use(linked, box)).rejects.toMatchObject({ code: "forbidden", detail: { scope } });
  });

  it("asks whether it takes new ones", async () => {
    await linked[Symbol.asyncDispose]();
    linked = await LinkedHost.open("pair", {
      admit: () => Promise.reject(new CaissonError("lease_lost", "no control plane was heard")),
    });
    await expect(linked.remote.start(spec(freshId()))).rejects.toEqual(code("lease_lost"));
    expect(linked.machine.boxes.size).toBe(0);
  });

  it("refuses unknown methods, unknown fields and wrong ones, and names them", async () => {
    const { near } = linked;
    const refused = (method: string, params: Record<string, unknown>): Promise<unknown> =>
      near.open(method, params, { noInput: true }).reply;
    await expect(refused("worker.nothing", {})).rejects.toEqual(code("unsupported"));
    await expect(refused("ListSessions", {})).rejects.toEqual(code("unsupported"));
    await expect(refused("worker.inventory", { all: true })).rejects.toMatchObject({ code: "invalid_argument", message: /"all"/ });
    await expect(refused("worker.destroy", { sandbox_id: "../../x", epoch: 1 })).rejects.toMatchObject({ message: /sandbox_id/ });
    await expect(refused("worker.destroy", { sandbox_id: freshId(), epoch: -1 })).rejects.toMatchObject({ message: /epoch/ });
    await expect(refused("worker.stats", { sandbox_id: freshId(), epoch: 1, params: [] })).rejects.toMatchObject({ message: /params/ });
    await expect(refused("worker.spawn", { ...spawnParams(), network: "all" })).rejects.toMatchObject({ message: /network/ });
    await expect(refused("worker.spawn", { ...spawnParams(), privileged: true })).rejects.toMatchObject({ message: /privileged/ });
  });
});

function spawnParams(): Record<string, unknown> {
  return { sandbox_id: freshId(), epoch: 1, provider: "mock", image: "host", resources: {}, network: "none" };
}

async function* chunks(bytes: Buffer): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += 50_000) yield bytes.subarray(at, at + 50_000);
}
