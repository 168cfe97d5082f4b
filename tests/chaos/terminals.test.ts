import { createHash } from "node:crypto";
import { readdir, readlink } from "node:fs/promises";
import { Caisson, Sandbox, type Terminal, type TerminalEvent } from "@caisson/sdk";
import { expect, it, vi } from "vitest";
import { tracesOf } from "../harness/machine.ts";
import { TestServer } from "../harness/server.ts";

const SANDBOXES = 4;
const CHUNK = 50_000;
const CHUNKS = 120;
const TOTAL = CHUNK * CHUNKS;
/** Longest time from the restart until everything that was open is open again, or has ended by name, in ms. */
const BACK_MS = 5_000;
/** The same where the server itself took longer to start: the machine is busy, and clients rest longer between attempts. */
const backMs = ({ upMs }: TestServer): number => Math.max(BACK_MS, upMs);
/** A deadline and no measure. */
const PATIENCE = { timeout: 60_000 };

/** Writes bytes that depend on the seed, so slowly that the server dies meanwhile, and no more than half before it is back. */
const WRITER = `
import os, sys, time, tty
if os.isatty(1): tty.setraw(1)
seed = int(sys.argv[1])
block = bytes((seed * 31 + i * 7) % 256 for i in range(${CHUNK}))
for n in range(${CHUNKS}):
    sys.stdout.buffer.write(block[n:] + block[:n])
    sys.stdout.buffer.flush()
    time.sleep(0.02)
    while n == ${CHUNKS / 2} and not os.path.exists("/tmp/on"): time.sleep(0.02)
sys.exit(seed + 10)
`;

/** The digest of what WRITER writes. */
function expectedDigest(seed: number): string {
  const block = Buffer.from(Array.from({ length: CHUNK }, (_, i) => (seed * 31 + i * 7) % 256));
  const hash = createHash("sha256");
  for (let n = 0; n < CHUNKS; n += 1) hash.update(block.subarray(n)).update(block.subarray(0, n));
  return hash.digest("hex");
}

/** One terminal, and when it was connected last. */
class Watched {
  readonly hash = createHash("sha256");
  bytes = 0;
  connectedAt = 0;
  broke = false;
  readonly gaps: TerminalEvent[] = [];
  terminal!: Terminal;
  readonly options = {
    cols: 80,
    rows: 24,
    outputLimit: 67_108_864,
    onData: (bytes: Uint8Array): void => {
      this.hash.update(bytes);
      this.bytes += bytes.length;
    },
    onEvent: (event: TerminalEvent): void => {
      if (event.type === "connected") this.connectedAt = performance.now();
      if (event.type === "reconnecting") this.broke = true;
      if (event.type === "gap") this.gaps.push(event);
    },
  };
}

it(
  "kill -9 of the server: terminals and streams go on byte by byte, or end by name, within 5 s; nothing is left",
  { timeout: 180_000 },
  async () => {
    await using server = await TestServer.start();
    // No connection is kept for later: at the end only those count that nobody gave up.
    const once = (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
      const headers = new Headers(init.headers);
      headers.set("connection", "close");
      return fetch(input, { ...init, headers });
    };
    const client = new Caisson({ url: server.url, apiKey: server.apiKey, fetch: once });
    const sandboxes = await Promise.all(Array.from({ length: SANDBOXES }, () => Sandbox.create({}, { client })));
    const ids = sandboxes.map((sandbox) => sandbox.id);

    const open = await Promise.all(
      sandboxes.map(async (sandbox, seed) => {
        const writer = new Watched();
        writer.terminal = await sandbox.pty.create({ ...writer.options, command: ["python3", "-c", WRITER, String(seed)] });
        const idle = new Watched();
        idle.terminal = await sandbox.pty.create({ ...idle.options, command: ["bash", "--norc"] });
        const ending = new Watched();
        ending.terminal = await sandbox.pty.create({ ...ending.options, command: "sleep 1; exit 77" });
        const mortal = new Watched();
        mortal.terminal = await sandbox.pty.create({ ...mortal.options, command: "sleep 600", killOnDisconnect: true });
        const { process_id } = await sandbox.commands.spawn(["python3", "-c", WRITER, String(seed)]);
        return { seed, sandbox, writer, idle, ending, mortal, follower: new Follower(sandbox, process_id) };
      }),
    );
    const begun = (): number => Math.min(...open.flatMap(({ writer, follower }) => [writer.bytes, follower.bytes]));
    await vi.waitFor(() => expect(begun()).toBeGreaterThan(TOTAL / 20), PATIENCE);

    await server.kill9();
    const killed = performance.now();
    await vi.waitFor(() => expect(open.every(({ idle }) => idle.broke)).toBe(true), PATIENCE);
    await server.up();
    const back = performance.now();
    await Promise.all(sandboxes.map((sandbox) => sandbox.commands.run("touch /tmp/on")));

    await Promise.all(
      open.map(async ({ seed, writer, idle, ending, mortal, follower }) => {
        expect(await ending.terminal.wait()).toMatchObject({ exitCode: 77 });
        expect(await mortal.terminal.wait()).toMatchObject({ signal: "KILL" });
        await vi.waitFor(() => expect(Math.min(writer.connectedAt, idle.connectedAt)).toBeGreaterThan(killed), PATIENCE);
        expect(Math.max(writer.connectedAt, idle.connectedAt) - back).toBeLessThan(backMs(server));

        expect(await writer.terminal.wait()).toMatchObject({ exitCode: seed + 10 });
        expect({ bytes: writer.bytes, gaps: writer.gaps, digest: writer.hash.digest("hex") }).toEqual({
          bytes: TOTAL,
          gaps: [],
          digest: expectedDigest(seed),
        });
        expect(await follower.ended).toEqual({ bytes: TOTAL, digest: expectedDigest(seed), exitCode: seed + 10 });

        await idle.terminal.write("exit 5\n");
        expect(await idle.terminal.wait()).toMatchObject({ exitCode: 5 });
      }),
    );

    await vi.waitFor(async () => expect(await socketsOf(server.pid)).toBeLessThan(SANDBOXES * 2 + 6), PATIENCE);
    await Promise.all(sandboxes.map((sandbox) => sandbox.destroy()));
    const left = (await tracesOf(server.dataDir, ids)).filter(
      (trace) => !trace.includes("caisson.mjs serve") && !trace.startsWith("path worker/records/"),
    );
    expect(left).toEqual([]);
  },
);

it("a terminal whose sandbox ended meanwhile ends by name", { timeout: 180_000 }, async () => {
  await using server = await TestServer.start();
  const client = new Caisson({ url: server.url, apiKey: server.apiKey });
  const sandbox = await Sandbox.create({ ttl: "15s" }, { client });
  const terminal = await sandbox.pty.create({ cols: 80, rows: 24 });
  const ended = terminal.wait().catch((error: unknown) => error);
  await server.kill9();
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(Date.parse(sandbox.info.expires_at)), PATIENCE);
  await server.up();
  const back = performance.now();
  expect(await ended).toMatchObject({ code: "sandbox_destroyed", status: 410 });
  expect(performance.now() - back).toBeLessThan(backMs(server));
});

/** A reader of a process over HTTP. */
class Follower {
  bytes = 0;
  readonly ended: Promise<{ readonly bytes: number; readonly digest: string; readonly exitCode: number }>;

  constructor(sandbox: Sandbox, processId: number) {
    this.ended = this.#follow(sandbox, processId);
    // Awaited at the end; until then a failure is nobody's.
    this.ended.catch(() => undefined);
  }

  async #follow(sandbox: Sandbox, processId: number): Promise<{ bytes: number; digest: string; exitCode: number }> {
    const hash = createHash("sha256");
    for await (const event of sandbox.processes.attach(processId, { from: { stdout: 0 } })) {
      if (event.type === "output") {
        hash.update(event.bytes);
        this.bytes += event.bytes.length;
      }
      if (event.type === "exit") return { bytes: this.bytes, digest: hash.digest("hex"), exitCode: event.exitCode };
    }
    throw new Error("no exit");
  }
}

/** Sockets that a process holds open. */
async function socketsOf(pid: number): Promise<number> {
  const links = await Promise.all((await readdir(`/proc/${pid}/fd`)).map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => "")));
  return links.filter((link) => link.startsWith("socket:")).length;
}
