import { once } from "node:events";
import { duplexPair } from "node:stream";
import { CaissonError, isCaissonError, systemClock } from "@caisson/contract";
import { Link, type IncomingCall } from "@caisson/link";
import { VirtualClock } from "@caisson/testkit";
import { describe, expect, it } from "vitest";
import { GuestClient } from "./guest-client.ts";
import type { ProcessOutput } from "./guest.ts";
import { serveGuest, type GuestHandlers } from "./serve-guest.ts";

function guest(handlers: GuestHandlers): { client: GuestClient; link: Link } {
  const [a, b] = duplexPair();
  serveGuest(b, (method) => handlers[method], systemClock);
  const link = new Link(a, { role: "dialler", clock: systemClock });
  return { client: new GuestClient(link), link };
}

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (isCaissonError(error) ? error.code : String(error)),
  );
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

async function* bytes(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

const EXIT = {
  type: "exit",
  code: 0,
  signal: null,
  timed_out: false,
  duration_ms: 1,
  started_at_ms: 1,
  ended_at_ms: 2,
  stdout_bytes: 3,
  stderr_bytes: 0,
};
const ENTRY = {
  path: "/a",
  name: "a",
  type: "file",
  size: 1,
  mode: 0o644,
  uid: 0,
  gid: 0,
  user: "root",
  group: null,
  mtime_ms: -5,
  version: "1-a",
};

/** Text form of outputs, easy to compare. */
function shape(outputs: readonly ProcessOutput[]): string[] {
  return outputs.map((o) =>
    o.type === "output"
      ? `${o.stream}@${o.offset}:${Buffer.from(o.bytes).toString()}`
      : o.type === "gap"
        ? `gap ${o.stream} ${o.from}-${o.to}`
        : `exit ${o.exit.code ?? o.exit.signal}`,
  );
}

describe("guest client", () => {
  it("gives output with offsets, gaps and the exit, and closes the channel", async () => {
    const { client, link } = guest({
      ExecCommand: async (call, params) => {
        expect([params.texts("argv"), params.textMap("env"), params.flag("stdin", false)]).toEqual([["cat"], { A: "b" }, true]);
        params.finish();
        call.reply({ id: 7, pid: 42 });
        for await (const frame of call) if (frame.kind === "data") await call.write(frame.bytes, 1);
        await call.write(Buffer.from("err"), 2);
        await call.sendEvent({ type: "gap", stream: "stdout", from: 4, to: 9 });
        await call.write(Buffer.from("tail"), 1);
        await call.sendEvent(EXIT, { fin: true });
      },
    });
    const process = await client.exec({ argv: ["cat"], env: { A: "b" }, stdin: true });
    await process.write(Buffer.from("ab"));
    await process.write(Buffer.from("cd"));
    process.closeInput();
    const outputs = await all(process);
    expect([process.id, process.pid]).toEqual([7, 42]);
    expect(shape(outputs).join(" ")).toMatch(/^stdout@0:ab stdout@2:cd stderr@0:err gap stdout 4-9 stdout@9:tail exit 0$/);
    await new Promise((resolve) => setImmediate(resolve));
    expect(link.openChannels).toBe(0);
  });

  it("attaches from an offset and may end without an exit when not following", async () => {
    const { client } = guest({
      StreamOutput: async (call, params) => {
        const [id, from = 0, follow] = [params.int("id"), params.int("stdout_offset"), params.flag("follow", true)];
        call.reply({ id, pid: 3, stdout: { start: 10, end: 20 }, stderr: { start: 0, end: 0 } });
        if (from < 10) await call.sendEvent({ type: "gap", stream: "stdout", from, to: 10 });
        await call.write(Buffer.from("0123456789"), 1);
        await call.write(Buffer.from("e"), 2);
        if (follow) await call.sendEvent({ ...EXIT, code: null, signal: "KILL" }, { fin: true });
        else call.end();
      },
    });
    expect(shape(await all(await client.attach(9)))).toEqual(["gap stdout 0-10", "stdout@10:0123456789", "stderr@0:e", "exit KILL"]);
    expect(shape(await all(await client.attach(9, { stdoutOffset: 2, follow: false })))).toEqual([
      "gap stdout 2-10",
      "stdout@10:0123456789",
      "stderr@0:e",
    ]);
  });

  it("maps the agent's codes", async () => {
    const fail = (code: "not_found" | "no_space") => (call: IncomingCall) => call.fail(new CaissonError(code, "m", { detail: { a: 1 } }));
    const { client } = guest({
      Stat: fail("not_found"),
      WriteFile: fail("no_space"),
      ListSessions: (call) => call.reply({ sessions: [] }, { fin: true }),
    });
    await expect(client.stat("/x")).rejects.toMatchObject({ code: "file_not_found", message: "m", detail: { a: 1 } });
    expect(await code(client.writeFile("/x", bytes("a")))).toBe("no_space");
    expect(await code(client.session(3))).toBe("process_not_found");
    expect(await code(client.stats())).toBe("unsupported");
  });

  const answers: [string, GuestHandlers, (client: GuestClient) => Promise<unknown>][] = [
    ["an id that is text", { SpawnSession: (call) => call.reply({ id: "1", pid: 1 }, { fin: true }) }, (c) => c.spawn({ command: "x" })],
    ["a pid that is missing", { SpawnSession: (call) => call.reply({ id: 1 }, { fin: true }) }, (c) => c.spawn({ command: "x" })],
    ["a negative count", { KillSession: (call) => call.reply({ signalled: -1 }, { fin: true }) }, (c) => c.kill(1)],
    [
      "an entry of an unknown type",
      { Stat: (call) => call.reply({ entry: { ...ENTRY, type: "door" } }, { fin: true }) },
      (c) => c.stat("/a"),
    ],
    ["an entry that is a list", { Stat: (call) => call.reply({ entry: [] }, { fin: true }) }, (c) => c.stat("/a")],
    [
      "a size beyond the safe integers",
      { Stat: (call) => call.reply({ entry: { ...ENTRY, size: 2n ** 60n } }, { fin: true }) },
      (c) => c.stat("/a"),
    ],
    ["sessions that are no maps", { ListSessions: (call) => call.reply({ sessions: [1] }, { fin: true }) }, (c) => c.sessions()],
    [
      "an exit with code and signal",
      {
        ExecCommand: (call) => {
          call.reply({ id: 1, pid: 1 });
          return call.sendEvent({ ...EXIT, signal: "KILL" }, { fin: true });
        },
      },
      async (c) => all(await c.exec({ command: "x" })),
    ],
    [
      "an end without an exit",
      {
        ExecCommand: (call) => {
          call.reply({ id: 1, pid: 1 });
          return call.end();
        },
      },
      async (c) => all(await c.exec({ command: "x" })),
    ],
    [
      "output on stream 0",
      {
        ExecCommand: (call) => {
          call.reply({ id: 1, pid: 1 });
          return call.write(Buffer.from("x"), 0);
        },
      },
      async (c) => all(await c.exec({ command: "x" })),
    ],
    [
      "an unknown event",
      {
        ExecCommand: (call) => {
          call.reply({ id: 1, pid: 1 });
          return call.sendEvent({ type: "party" });
        },
      },
      async (c) => all(await c.exec({ command: "x" })),
    ],
    [
      "a gap that goes back",
      {
        ExecCommand: (call) => {
          call.reply({ id: 1, pid: 1 });
          return call.sendEvent({ type: "gap", stream: "stdout", from: 5, to: 3 });
        },
      },
      async (c) => all(await c.exec({ command: "x" })),
    ],
    [
      "more bytes of a file than asked for",
      {
        ReadFile: (call) => {
          call.reply({ entry: ENTRY });
          return call.write(Buffer.from("abc"));
        },
      },
      async (c) => all((await c.readFile("/a", { length: 2 })).content),
    ],
    [
      "a listing with bytes in it",
      {
        ListDir: (call) => {
          call.reply({});
          return call.write(Buffer.from("abc"));
        },
      },
      (c) => all(c.listDir("/")),
    ],
  ];
  it.each(answers)("calls %s a protocol error and leaves the channel", async (_name, handlers, run) => {
    const { client, link } = guest(handlers);
    expect(await code(run(client))).toBe("protocol_error");
    await new Promise((resolve) => setImmediate(resolve));
    expect(link.openChannels).toBe(0);
  });

  it("reads files, listings and globs", async () => {
    const { client } = guest({
      ReadFile: async (call) => {
        call.reply({ entry: ENTRY });
        await call.write(Buffer.from("con"));
        await call.write(Buffer.from("tent"));
        call.end();
      },
      ListDir: async (call) => {
        call.reply({});
        await call.sendEvent({ type: "entries", entries: [ENTRY, { ...ENTRY, path: "/b" }] });
        await call.sendEvent({ type: "entries", entries: [] });
        call.end();
      },
      Glob: async (call) => {
        call.reply({});
        await call.sendEvent({ type: "entries", entries: [ENTRY] });
        await call.sendEvent({ type: "truncated" });
        call.end();
      },
    });
    const file = await client.readFile("/a");
    expect(file.entry).toEqual({ ...without(ENTRY), mtimeMs: -5, target: null });
    expect(Buffer.concat(await all(file.content)).toString()).toBe("content");
    expect((await all(client.listDir("/"))).map((entry) => entry.path)).toEqual(["/a", "/b"]);
    const glob = client.glob("*");
    expect((await glob.next()).done).toBe(false);
    expect(await glob.next()).toEqual({ done: true, value: { truncated: true } });
  });

  it("writes a file, aborts it when the source fails, and stops a source nobody wants", async () => {
    const aborted = Promise.withResolvers<unknown>();
    const { client } = guest({
      WriteFile: async (call, params) => {
        if (params.text("path") === "/full") throw new CaissonError("no_space", "full");
        let text = "";
        try {
          for await (const frame of call) if (frame.kind === "data") text += Buffer.from(frame.bytes).toString();
        } catch (error) {
          aborted.resolve(error);
          throw error;
        }
        call.reply({ entry: { ...ENTRY, size: text.length } }, { fin: true });
      },
    });
    expect((await client.writeFile("/a", bytes("con", "", "tent"))).size).toBe(7);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.from("half");
      throw new Error("source broke");
    }
    await expect(client.writeFile("/a", failing())).rejects.toThrow("source broke");
    expect(isCaissonError(await aborted.promise, "cancelled")).toBe(true);
    const endless = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<Uint8Array>>(() => undefined) }) };
    expect(await code(client.writeFile("/full", endless))).toBe("no_space");
    const flood = { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: false, value: Buffer.alloc(100_000) }) as const }) };
    expect(await code(client.writeFile("/full", flood))).toBe("no_space");
  });

  it("gives up on an agent that takes no bytes, or never answers", async () => {
    const clock = new VirtualClock();
    const [a, b] = duplexPair();
    serveGuest(b, (method) => (method === "WriteFile" || method === "Stat" ? () => undefined : undefined), clock);
    const client = new GuestClient(new Link(a, { role: "dialler", clock }), clock);
    const results = [
      code(client.writeFile("/a", bytes("x".repeat(300_000)), { deadlineMs: 500 })),
      code(client.writeFile("/a", bytes("x"), { deadlineMs: 500 })),
      code(client.stat("/a", { deadlineMs: 500 })),
      code(client.stat("/a")),
    ];
    await clock.advance(500);
    await clock.advance(29_500);
    expect(await Promise.all(results)).toEqual(Array(4).fill("deadline_exceeded"));
  });

  it("dials with half-close and back-pressure", async () => {
    let received = 0;
    const { client, link } = guest({
      Dial: async (call) => {
        call.reply({});
        for await (const frame of call) if (frame.kind === "data") received += frame.bytes.length;
        await call.write(Buffer.from(`got ${received}`));
        call.end();
      },
    });
    const stream = await client.dial({ network: "tcp", port: 80 });
    stream.end(Buffer.alloc(3_000_000));
    let text = "";
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(stream, "close");
    expect(text).toBe("got 3000000");
    expect(link.openChannels).toBe(0);
  });

  it("breaks the iteration with the named error when the link breaks", async () => {
    const { client, link } = guest({
      ExecCommand: (call) => {
        call.reply({ id: 1, pid: 1 });
        void call.write(Buffer.from("x"), 1);
      },
    });
    const process = await client.exec({ command: "sleep 9" });
    const seen: string[] = [];
    const reading = (async () => {
      for await (const output of process) {
        seen.push(output.type);
        link.close();
      }
    })();
    expect(await code(reading)).toBe("agent_unreachable");
    expect(seen).toEqual(["output"]);
  });
});

function without(entry: typeof ENTRY): Record<string, unknown> {
  const { mtime_ms: _time, ...rest } = entry;
  return rest;
}
