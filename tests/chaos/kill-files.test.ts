import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Caisson, CaissonApiError, Sandbox, type WatchItem } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

/** Time after a restart in which all must go on, or end with a named error, in ms. */
const RESUME_MS = 5_000;
/** The same where the server itself took longer to start: the machine is busy, and clients rest longer between attempts. */
const resumeMs = ({ upMs }: TestServer): number => Math.max(RESUME_MS, upMs);
const MIB = 1_048_576;

/** Resolves with the promise; fails when that takes longer. */
async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  const late = new AbortController();
  const timer = sleep(ms, undefined, { signal: late.signal }).then(
    () => Promise.reject(new Error(`${what}: nothing within ${ms} ms`)),
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([promise, timer]);
  } finally {
    late.abort();
  }
}

/** Bytes that depend on their place, a MiB at a time. */
function block(n: number): Uint8Array {
  return Buffer.alloc(MIB, `${n} `);
}

describe("kill -9 of the server", () => {
  let server: TestServer;
  let sandbox: Sandbox;
  beforeAll(async () => {
    server = await TestServer.start();
    const client = new Caisson({ url: server.url, apiKey: server.apiKey });
    sandbox = await Sandbox.create({}, { client });
    await sandbox.files.mkdir("/home/user/work");
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const names = async (): Promise<string> => (await sandbox.commands.run("ls -A /home/user/work", { check: true })).stdout;
  /** A named error, or what came instead. */
  const errorOf = (promise: Promise<unknown>): Promise<string> =>
    promise.then(
      () => "done",
      (error: unknown) => (error instanceof CaissonApiError ? error.code : String(error)),
    );

  it("does not end a resumable upload, which goes on where it stood", { timeout: 240_000 }, async () => {
    const blocks = 64;
    const hash = createHash("sha256");
    let visible = "";
    let killed: Promise<void> | undefined;
    let goesOn: (() => void) | undefined;
    const wentOn = new Promise<void>((resolve) => (goesOn = resolve));
    const looked = Promise.withResolvers<void>();
    const content = (async function* () {
      for (let n = 0; n < blocks; n += 1) {
        // It is not whole before somebody has looked at what shows of it.
        if (n === blocks - 1) await looked.promise;
        hash.update(block(n));
        yield block(n);
      }
    })();
    let sent = 0;
    const upload = sandbox.files.upload("/home/user/work/model.bin", content, {
      onProgress: (progress) => {
        expect(progress.sent).toBeGreaterThanOrEqual(sent);
        sent = progress.sent;
        if (sent >= 24 * MIB && killed === undefined) killed = server.kill9();
        else if (killed !== undefined) goesOn?.();
      },
    });
    await expect.poll(() => killed !== undefined).toBe(true);
    await killed;
    await server.up();
    visible = await names();
    looked.resolve();
    await within(resumeMs(server), wentOn, "the upload");
    const written = await upload;
    expect(visible).not.toContain("model.bin");
    expect(written).toMatchObject({ size: blocks * MIB, sha256: hash.digest("hex") });
    expect((await sandbox.files.digest("/home/user/work/model.bin")).sha256).toBe(written.sha256);
    expect(await names()).toBe("model.bin\n");
    await sandbox.files.remove("/home/user/work/model.bin");
  });

  it("ends a plain upload with a named error, and shows none of it", { timeout: 180_000 }, async () => {
    let killed: Promise<void> | undefined;
    let visible: string | undefined;
    const content = (async function* () {
      // Each is asked for when most of those before it were taken; nothing of them shows.
      for (let n = 0; n < 32; n += 1) yield block(n);
      visible = await names();
      killed = server.kill9();
      for (let n = 32; n < 64; n += 1) yield block(n);
    })();
    expect(await errorOf(sandbox.files.write("/home/user/work/plain.bin", content))).toBe("server_unreachable");
    expect(visible).toBe("");
    await killed;
    await server.up();
    // Not even under another name, where the agent had to give it one.
    await expect.poll(names, { timeout: resumeMs(server) }).toBe("");
  });

  it("does not lose a change of a watched folder", { timeout: 180_000 }, async () => {
    const files = 400;
    await sandbox.files.mkdir("/home/user/work/watched");
    const seen: WatchItem[] = [];
    let killed: Promise<void> | undefined;
    let restarted: Promise<void> | undefined;
    let begun: ((value: unknown) => void) | undefined;
    const ready = new Promise((resolve) => (begun = resolve));
    const watching = (async () => {
      for await (const item of sandbox.files.watch("/home/user/work/watched")) {
        seen.push(item);
        if (item.type === "ready") begun?.(undefined);
        if (item.type !== "change") continue;
        if (item.path.endsWith("/100") && killed === undefined) {
          killed = server.kill9();
          restarted = killed.then(() => server.up());
        }
        if (item.path.endsWith("/last")) return;
      }
    })();
    await ready;
    const script = `import time
for i in range(${files}):
    open(f"/home/user/work/watched/{i}", "w").close()
    time.sleep(0.005)
open("/home/user/work/watched/last", "w").close()`;
    await sandbox.commands.spawn(["python3", "-c", script]);
    await expect.poll(() => restarted !== undefined).toBe(true);
    await restarted;
    await watching;
    expect(seen.filter((item) => item.type !== "change").map((item) => item.type)).toEqual(["ready"]);
    const changes = seen.flatMap((item) => (item.type === "change" ? [item] : []));
    expect(changes.map((change) => change.seq)).toEqual(changes.map((_, i) => i + 1));
    const created = changes.filter((change) => change.kind === "created").map((change) => change.path);
    expect(created).toEqual([...Array.from({ length: files }, (_, i) => `/home/user/work/watched/${i}`), "/home/user/work/watched/last"]);
    await sandbox.files.remove("/home/user/work/watched", { recursive: true });
  });

  it("ends the upload of a tree with a named error, and shows none of it", { timeout: 180_000 }, async () => {
    const source = (
      await sandbox.commands.run(
        "mkdir /home/user/work/source && cd /home/user/work/source && for i in $(seq 300); do head -c 8192 /dev/zero > $i; done",
        { check: true },
      )
    ).exitCode;
    expect(source).toBe(0);
    const tar: Uint8Array[] = [];
    for await (const bytes of await sandbox.files.archive("/home/user/work/source")) tar.push(bytes);
    const whole = Buffer.concat(tar);
    let killed: Promise<void> | undefined;
    const content = (async function* () {
      yield whole.subarray(0, whole.length / 2);
      await expect.poll(names).not.toBe("source\n");
      killed = server.kill9();
      yield whole.subarray(whole.length / 2);
    })();
    expect(await errorOf(sandbox.files.extract("/home/user/work/tree", content))).toBe("server_unreachable");
    await killed;
    await server.up();
    await expect.poll(names, { timeout: resumeMs(server) }).toBe("source\n");
    // And the same tree comes whole with the next try.
    expect((await sandbox.files.extract("/home/user/work/tree", whole)).entries).toBeGreaterThanOrEqual(300);
    expect((await sandbox.commands.run("diff -r /home/user/work/source /home/user/work/tree", { check: true })).exitCode).toBe(0);
  });

  it("leaves nothing behind in the sandbox", async () => {
    const { items } = await server.json<{ items: unknown[] }>("GET", `/sandboxes/${sandbox.id}/uploads`);
    expect(items).toEqual([]);
    const left = await sandbox.commands.run("find /home/user /tmp", { check: true });
    expect(left.stdout).not.toMatch(/caisson|\.tmp|upload/i);
  });
});
