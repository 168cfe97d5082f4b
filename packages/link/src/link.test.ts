import { once } from "node:events";
import { createServer, connect, type Server, type Socket } from "node:net";
import { duplexPair, type Duplex } from "node:stream";
import { CaissonError, isCaissonError, systemClock, type Channel, type ChannelFrame } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, describe, expect, it } from "vitest";
import { encodeFrame, FLAG_ERROR, FLAG_FIN, FLAG_PONG, INITIAL_CREDIT, KIND, MAX_CHANNELS } from "./frame.ts";
import { FrameDecoder } from "./frame-decoder.ts";
import type { IncomingCall } from "./incoming-call.ts";
import { Link } from "./link.ts";
import type { LinkOptions } from "./link-options.ts";
import { decodeMap } from "./messagepack-decode.ts";
import { encodeMap } from "./messagepack-encode.ts";

const links: Link[] = [];
afterEach(() => {
  for (const link of links.splice(0)) link.close();
});

function make(stream: Duplex, options: Partial<LinkOptions> & Pick<LinkOptions, "role">): Link {
  const link = new Link(stream, { clock: systemClock, ...options });
  links.push(link);
  return link;
}

function pair(onOpen?: (call: IncomingCall) => void, more: Partial<LinkOptions> = {}): { client: Link; server: Link } {
  const [a, b] = duplexPair();
  return {
    client: make(a, { role: "dialler", ...more }),
    server: make(b, { role: "listener", ...(onOpen === undefined ? {} : { onOpen }), ...more }),
  };
}

/** The raw far end of a link: sends what it likes and keeps what it gets. */
class Raw {
  readonly frames: { kind: number; channel: number; flags: number; payload: Buffer }[] = [];
  readonly stream: Duplex;
  constructor(stream: Duplex) {
    this.stream = stream;
    const decoder = new FrameDecoder({
      header: () => undefined,
      data: (channel, flags, payload) => this.frames.push({ kind: KIND.data, channel, flags, payload: Buffer.from(payload) }),
      control: (kind, channel, flags, payload) => this.frames.push({ kind, channel, flags, payload }),
    });
    stream.on("data", (chunk: Buffer) => decoder.push(chunk));
    stream.on("error", () => undefined);
  }
  send(kind: number, channel: number, flags: number, payload: Uint8Array | Record<string, unknown>): void {
    this.stream.write(encodeFrame(kind, channel, flags, payload instanceof Uint8Array ? payload : encodeMap(payload, 0, 262_144)));
  }
  hello(protocol: readonly unknown[] = [1, 1]): void {
    this.send(KIND.hello, 0, 0, { protocol, build: "raw", features: [] });
  }
  async next(kind: number): Promise<{ channel: number; flags: number; payload: Buffer }> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.kind === kind);
      if (at >= 0) return this.frames.splice(at, 1)[0]!;
      await once(this.stream, "data");
    }
  }
}

function rawServer(more: Partial<LinkOptions> = {}): { client: Link; raw: Raw } {
  const [a, b] = duplexPair();
  return { client: make(a, { role: "dialler", ...more }), raw: new Raw(b) };
}

function rawClient(onOpen: (call: IncomingCall) => void = () => undefined): { server: Link; raw: Raw } {
  const [a, b] = duplexPair();
  return { server: make(a, { role: "listener", onOpen }), raw: new Raw(b) };
}

async function collect(channel: AsyncIterable<ChannelFrame>): Promise<ChannelFrame[]> {
  const frames: ChannelFrame[] = [];
  for await (const frame of channel) frames.push(frame);
  return frames;
}

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (isCaissonError(error) ? error.code : String(error)),
  );
}

async function serveEcho(call: IncomingCall): Promise<void> {
  call.reply({ method: call.method, params: call.params });
  for await (const frame of call) {
    if (frame.kind === "data") await call.write(frame.bytes, frame.stream);
    else await call.sendEvent(frame.event);
  }
  call.end();
}
const echo = (call: IncomingCall): void => void serveEcho(call).catch(() => undefined);

describe("calls", () => {
  it("replies, streams both ways and closes", async () => {
    const { client, server } = pair(echo);
    const call = client.open("Echo", { a: 1, b: [true, null, "x"] });
    expect(await call.reply).toEqual({ method: "Echo", params: { a: 1, b: [true, null, "x"] } });
    await call.write(Buffer.from("one"), 1);
    await call.sendEvent({ type: "mark", n: 7 });
    await call.write(Buffer.from("two"));
    call.end();
    const frames = await collect(call);
    expect(frames.map((f) => (f.kind === "data" ? `${f.stream}:${Buffer.from(f.bytes).toString()}` : f.event))).toEqual([
      "1:one",
      { type: "mark", n: 7 },
      "0:two",
    ]);
    await call.closed;
    expect([client.openChannels, server.openChannels]).toEqual([0, 0]);
  });

  it("carries a failure with code and detail, and its own name for an unknown code", async () => {
    const { client } = pair((call) => call.fail(new CaissonError("not_empty", "full", { detail: { n: 3 } })));
    await expect(client.open("X", {}).reply).rejects.toMatchObject({ code: "not_empty", message: "full", detail: { n: 3 } });
    const { client: other, raw } = rawServer();
    raw.hello();
    const call = other.open("X", {});
    await raw.next(KIND.open);
    raw.send(KIND.reply, 1, FLAG_ERROR | FLAG_FIN, { code: "weird", message: "m" });
    await expect(call.reply).rejects.toMatchObject({ code: "internal", detail: { wire_code: "weird" } });
  });

  it("lets the listener call the dialler", async () => {
    const [a, b] = duplexPair();
    make(a, { role: "dialler", onOpen: echo });
    const server = make(b, { role: "listener" });
    expect(await server.open("Back", {}, { noInput: true }).reply).toEqual({ method: "Back", params: {} });
  });

  it("refuses calls where nobody takes them, and one channel too many", async () => {
    const { client } = pair();
    expect(await code(client.open("X", {}).reply)).toBe("unsupported");
    const { client: busy } = pair((call) => call.reply({}));
    const calls: Channel[] = [];
    for (let i = 0; i < MAX_CHANNELS; i++) calls.push(busy.open("Hold", {}));
    expect(await code(busy.open("Hold", {}).reply)).toBe("resource_exhausted");
    await calls[0]!.reply;
    calls[0]!.cancel();
    await busy.open("Hold", {}).reply;
  });

  it("carries as many calls as both sides were told to", async () => {
    const { client } = pair((call) => call.reply({}), { maxChannels: 3 });
    for (let i = 0; i < 3; i++) await client.open("Hold", {}).reply;
    await expect(client.open("Hold", {}).reply).rejects.toMatchObject({ code: "resource_exhausted", message: /^3 calls/ });
    const { client: wide } = pair((call) => call.reply({}), { maxChannels: 5_000 });
    await Promise.all(Array.from({ length: 5_000 }, () => wide.open("Hold", {}).reply));
    expect(wide.openChannels).toBe(5_000);
  });

  it("tells the other side why it is ended, and calls that it is lost, before they were made or after", async () => {
    const { client, server } = pair(() => undefined, { lostCode: "worker_unavailable" });
    await client.ready;
    const under = client.open("Hold", {}).reply;
    under.catch(() => undefined);
    server.close(new CaissonError("unauthorized", "The worker was revoked."));
    expect(await client.closed).toMatchObject({ code: "unauthorized", message: /The worker was revoked/ });
    await expect(under).rejects.toMatchObject({ code: "worker_unavailable", detail: undefined });
    await expect(client.open("Hold", {}).reply).rejects.toMatchObject({ code: "worker_unavailable", unsent: true });
  });

  it("answers the channel above the limit when a peer opens it anyway", async () => {
    const { raw } = rawClient((call) => call.reply({}));
    raw.hello();
    for (let i = 0; i <= MAX_CHANNELS; i++) raw.send(KIND.open, 1 + 2 * i, 0, { method: "Hold", params: {} });
    for (let i = 0; i < MAX_CHANNELS; i++) expect((await raw.next(KIND.reply)).flags).toBe(0);
    const last = await raw.next(KIND.reply);
    expect(last).toMatchObject({ channel: 1 + 2 * MAX_CHANNELS, flags: FLAG_ERROR | FLAG_FIN });
    expect(decodeMap(last.payload)["code"]).toBe("resource_exhausted");
  });

  it("ends by deadline, by signal and by cancel, and tells the callee", async () => {
    const clock = new VirtualClock();
    const seen: IncomingCall[] = [];
    const { client } = pair((call) => seen.push(call), { clock });
    await client.ready;
    const late = client.open("Slow", {}, { deadlineMs: 50 });
    const controller = new AbortController();
    const aborted = client.open("Slow", {}, { signal: controller.signal });
    const cancelled = client.open("Slow", {});
    await clock.advance(49);
    expect(seen.map((call) => call.deadlineMs)).toEqual([50, undefined, undefined]);
    await clock.advance(1);
    controller.abort();
    cancelled.cancel();
    expect(await Promise.all([late, aborted, cancelled].map((call) => code(call.reply)))).toEqual([
      "deadline_exceeded",
      "cancelled",
      "cancelled",
    ]);
    await Promise.all(seen.map((call) => call.closed));
    expect(seen.map((call) => (call.signal.reason as CaissonError).code)).toEqual(["deadline_exceeded", "cancelled", "cancelled"]);
  });

  it("leaving the loop early cancels; a signal aborted before never sends", async () => {
    const seen: IncomingCall[] = [];
    const { client } = pair((call) => {
      seen.push(call);
      call.reply({});
      void call.write(Buffer.alloc(1000), 1);
    });
    const call = client.open("Stream", {});
    for await (const frame of call) {
      expect(frame.kind).toBe("data");
      break;
    }
    await seen[0]!.closed;
    expect(await code(client.open("Never", {}, { signal: AbortSignal.abort() }).reply)).toBe("cancelled");
    await client.open("Stream", {}).reply;
    expect(seen.map((c) => c.method)).toEqual(["Stream", "Stream"]);
  });

  it("fails every open call with the named error when the stream breaks, after what had arrived", async () => {
    const [a, b] = duplexPair();
    const client = make(a, { role: "dialler", lostCode: "worker_unavailable" });
    make(b, {
      role: "listener",
      onOpen: (call) => {
        call.reply({});
        void call.write(Buffer.from("arrived"), 1);
      },
    });
    const call = client.open("X", {});
    await call.reply;
    const iterator = call[Symbol.asyncIterator]();
    const first = await iterator.next();
    expect(first.value).toMatchObject({ kind: "data", stream: 1 });
    const rest = iterator.next();
    b.destroy();
    expect(await code(rest)).toBe("worker_unavailable");
    expect(await code(call.write(Buffer.from("x")))).toBe("worker_unavailable");
    expect(await code(client.open("Y", {}).reply)).toBe("worker_unavailable");
    expect((await client.closed).code).toBe("worker_unavailable");
  });

  it("lets a callee leave its loop and still answer", async () => {
    const { client } = pair((call) => {
      void (async () => {
        for await (const frame of call) if (frame.kind === "data") break;
        call.fail(new CaissonError("no_space", "enough"));
      })();
    });
    const call = client.open("Upload", {});
    void call.write(Buffer.alloc(1_000_000));
    expect(await code(call.reply)).toBe("no_space");
  });

  it("ends a stream that a callee aborts with its reason", async () => {
    const { client } = pair((call) => {
      call.reply({});
      call.fail(new CaissonError("no_space", "full"));
    });
    const call = client.open("X", {});
    await call.reply;
    expect(await code(collect(call))).toBe("no_space");
  });
});

describe("credit", () => {
  it("stops a sender at the window and lets it go on as the consumer takes", async () => {
    let sent = 0;
    const { client } = pair((call) => {
      if (call.method === "Other") return call.reply({}, { fin: true });
      call.reply({});
      void (async () => {
        for (let i = 0; i < 64; i++) {
          await call.write(Buffer.alloc(16_384, i), 1);
          sent += 16_384;
        }
        call.end();
      })().catch(() => undefined);
    });
    const call = client.open("Flood", {}, { noInput: true });
    await call.reply;
    await client.open("Other", {}, { noInput: true }).reply; // everything that can be under way has arrived
    expect(sent).toBe(INITIAL_CREDIT);
    let got = 0;
    for await (const frame of call) if (frame.kind === "data") got += frame.bytes.length;
    expect([got, sent]).toEqual([64 * 16_384, 64 * 16_384]);
  });

  it("ends the link on data without credit, credit of nothing and credit without end", async () => {
    for (const attack of ["data", "zero", "huge"]) {
      const { client, raw } = rawServer();
      raw.hello();
      const call = client.open("X", {});
      await raw.next(KIND.open);
      raw.send(KIND.reply, 1, 0, {});
      const credit = Buffer.alloc(4);
      if (attack === "data") raw.send(KIND.data, 1, 1, Buffer.alloc(INITIAL_CREDIT + 1));
      if (attack === "zero") raw.send(KIND.credit, 1, 0, credit);
      credit.writeUInt32BE(0x7fff_ffff);
      if (attack === "huge") raw.send(KIND.credit, 1, 0, credit);
      expect((await client.closed).code).toBe("protocol_error");
      expect(await code(collect(call))).toBe("protocol_error");
      expect(decodeMap((await raw.next(KIND.end)).payload)["code"]).toBe("protocol_error");
    }
  });

  it("lets other channels pass a consumer that does not take", async () => {
    const { client } = pair((call) => {
      call.reply({});
      void call.write(Buffer.alloc(2_000_000), 1);
    });
    const stuck = client.open("Stuck", {});
    await stuck.reply;
    const free = client.open("Free", {});
    let got = 0;
    for await (const frame of free) {
      if (frame.kind === "data") got += frame.bytes.length;
      if (got === 2_000_000) break;
    }
    expect(got).toBe(2_000_000);
  });
});

describe("handshake", () => {
  it("agrees on the highest common version, N-1 with N either way", async () => {
    for (const [own, theirs, version] of [
      [[1, 1], [1, 2], 1],
      [[1, 2], [1, 1], 1],
      [[1, 2], [2, 3], 2],
      [[1, 3], [1, 3], 3],
    ] as const) {
      const [a, b] = duplexPair();
      const client = make(a, { role: "dialler", protocol: own, build: "c", features: ["f"] });
      const server = make(b, { role: "listener", protocol: theirs, onOpen: echo });
      expect((await client.ready).version).toBe(version);
      expect(await server.ready).toMatchObject({ version, build: "c", features: ["f"], protocol: own });
      await client.open("X", {}, { noInput: true }).reply;
    }
  });

  it("ends without a common version and says so on both sides", async () => {
    const [a, b] = duplexPair();
    const client = make(a, { role: "dialler", protocol: [1, 1] });
    const server = make(b, { role: "listener", protocol: [2, 3] });
    const call = client.open("X", {});
    expect((await client.closed).code).toBe("protocol_error");
    expect((await server.closed).code).toBe("protocol_error");
    expect(await code(call.reply)).toBe("protocol_error");
    expect(await code(client.ready)).toBe("protocol_error");
  });

  it("gives up on a silent side, and refuses any frame before hello", async () => {
    const clock = new VirtualClock();
    const { client } = rawServer({ clock, helloDeadlineMs: 500 });
    const call = client.open("X", {});
    await clock.advance(500);
    expect(await code(call.reply)).toBe("agent_unreachable");
    const { server, raw } = rawClient();
    raw.send(KIND.ping, 0, 0, Buffer.alloc(8));
    expect((await server.closed).code).toBe("protocol_error");
  });

  it.each([
    ["no range", { protocol: 1, build: "b", features: [] }],
    ["inverted", { protocol: [2, 1], build: "b", features: [] }],
    ["no build", { protocol: [1, 1], features: [] }],
    ["features", { protocol: [1, 1], build: "b", features: [1] }],
  ])("refuses a hello with %s", async (_name, hello) => {
    const { client, raw } = rawServer();
    raw.send(KIND.hello, 0, 0, hello);
    expect((await client.closed).code).toBe("protocol_error");
  });
});

describe("broken rules end the link, never the process", () => {
  const open = { method: "X", params: {} };
  const attacks: [string, (raw: Raw) => void][] = [
    ["a second hello", (raw) => raw.hello()],
    ["an even channel from the dialler", (raw) => raw.send(KIND.open, 2, 0, open)],
    ["a channel number used twice", (raw) => (raw.send(KIND.open, 3, 0, open), raw.send(KIND.open, 3, 0, open))],
    ["a smaller channel number", (raw) => (raw.send(KIND.open, 5, 0, open), raw.send(KIND.open, 3, 0, open))],
    ["data on a channel never opened", (raw) => raw.send(KIND.data, 9, 0, Buffer.from("x"))],
    ["data on channel 0", (raw) => raw.send(KIND.data, 0, 0, Buffer.from("x"))],
    ["a reply from the caller", (raw) => (raw.send(KIND.open, 1, 0, open), raw.send(KIND.reply, 1, 0, {}))],
    ["data after the end", (raw) => (raw.send(KIND.open, 1, FLAG_FIN, open), raw.send(KIND.data, 1, 0, Buffer.from("x")))],
    ["an open without a method", (raw) => raw.send(KIND.open, 1, 0, { params: {} })],
    ["an open with params of the wrong kind", (raw) => raw.send(KIND.open, 1, 0, { method: "X", params: [] })],
    ["a negative deadline", (raw) => raw.send(KIND.open, 1, 0, { ...open, deadline_ms: -1 })],
    ["an event without a type", (raw) => (raw.send(KIND.open, 1, 0, open), raw.send(KIND.event, 1, 0, { a: 1 }))],
    ["a payload that is no map", (raw) => raw.send(KIND.open, 1, 0, Buffer.from([0x93, 1, 2, 3]))],
    ["an unknown kind", (raw) => raw.send(9, 1, 0, Buffer.alloc(0))],
    ["kind 0", (raw) => raw.send(0, 1, 0, Buffer.alloc(0))],
    ["an unknown flag", (raw) => raw.send(KIND.open, 1, 0x20, open)],
    ["ERROR on open", (raw) => raw.send(KIND.open, 1, FLAG_ERROR, open)],
    ["stream 3", (raw) => (raw.send(KIND.open, 1, 0, open), raw.send(KIND.data, 1, 3, Buffer.from("x")))],
    ["a ping of 7 bytes", (raw) => raw.send(KIND.ping, 0, 0, Buffer.alloc(7))],
    ["an end with a payload and no error", (raw) => (raw.send(KIND.open, 1, 0, open), raw.send(KIND.end, 1, 0, { a: 1 }))],
    ["a control frame over its limit", (raw) => raw.stream.write(Buffer.from([0, 4, 0, 1, 0, 0, 0, 1, KIND.open, 0]))],
    ["a data frame over its limit", (raw) => raw.stream.write(Buffer.from([0, 16, 0, 1, 0, 0, 0, 1, KIND.data, 0]))],
  ];
  it.each(attacks)("%s", async (_name, attack) => {
    const { server, raw } = rawClient((call) => call.reply({}));
    raw.hello();
    attack(raw);
    expect((await server.closed).code).toBe("protocol_error");
    const farewell = await raw.next(KIND.end);
    expect([farewell.channel, farewell.flags, decodeMap(farewell.payload)["code"]]).toEqual([0, FLAG_ERROR, "protocol_error"]);
  });

  it.each([
    ["data before the reply", (raw: Raw) => raw.send(KIND.data, 1, 1, Buffer.from("x"))],
    ["an event before the reply", (raw: Raw) => raw.send(KIND.event, 1, 0, { type: "x" })],
    ["a second reply", (raw: Raw) => (raw.send(KIND.reply, 1, 0, {}), raw.send(KIND.reply, 1, 0, {}))],
    ["a failed reply without FIN", (raw: Raw) => raw.send(KIND.reply, 1, FLAG_ERROR, { code: "internal", message: "" })],
    ["an end without a reply", (raw: Raw) => raw.send(KIND.end, 1, 0, Buffer.alloc(0))],
    ["an error without a code", (raw: Raw) => raw.send(KIND.reply, 1, FLAG_ERROR | FLAG_FIN, {})],
  ])("%s from a callee", async (_name, attack) => {
    const { client, raw } = rawServer();
    raw.hello();
    const call = client.open("X", {});
    await raw.next(KIND.open);
    attack(raw);
    expect((await client.closed).code).toBe("protocol_error");
    expect(["protocol_error", "no error"]).toContain(await code(call.reply));
  });

  it("drops frames that were under way when a channel was aborted, and credit for a closed one", async () => {
    const { client, raw } = rawServer();
    raw.hello();
    const call = client.open("X", {});
    await raw.next(KIND.open);
    raw.send(KIND.reply, 1, 0, {});
    await call.reply;
    call.cancel();
    await raw.next(KIND.end);
    raw.send(KIND.data, 1, 1, Buffer.alloc(100_000));
    raw.send(KIND.event, 1, 0, { type: "late" });
    raw.send(KIND.credit, 1, 0, Buffer.from([0, 0, 0, 1]));
    raw.send(KIND.end, 1, 0, Buffer.alloc(0));
    const next = client.open("Y", {});
    await raw.next(KIND.open);
    raw.send(KIND.reply, 3, FLAG_FIN, { ok: true });
    expect(await next.reply).toEqual({ ok: true });
  });

  it("refuses an unknown field of an open without ending the link", async () => {
    const { raw, server } = rawClient((call) => call.reply({}));
    raw.hello();
    raw.send(KIND.open, 1, 0, { ...open, priority: 3 });
    expect(decodeMap((await raw.next(KIND.reply)).payload)["code"]).toBe("invalid_argument");
    expect(server.reason).toBeUndefined();
  });

  it("stops reading from a side that makes it answer and does not read", async () => {
    const { server, raw } = rawClient();
    raw.hello();
    await server.ready;
    raw.stream.pause();
    const ping = Buffer.concat(Array.from({ length: 10_000 }, () => encodeFrame(KIND.ping, 0, 0, Buffer.alloc(8))));
    for (let i = 0; i < 20; i++) raw.stream.write(ping);
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(raw.stream.writableLength).toBeGreaterThan(1_000_000);
    raw.stream.resume();
    await once(raw.stream, "drain");
    expect(server.reason).toBeUndefined();
  });
});

describe("keep-alive", () => {
  it("pings a silent side and ends when nothing comes back", async () => {
    const clock = new VirtualClock();
    const { client, raw } = rawServer({ clock, keepAlive: { intervalMs: 1000, timeoutMs: 300 } });
    raw.hello();
    await client.ready;
    await clock.advance(1000);
    const ping = await raw.next(KIND.ping);
    raw.send(KIND.ping, 0, FLAG_PONG, ping.payload);
    await clock.advance(1000);
    expect(client.reason).toBeUndefined();
    await clock.advance(300);
    expect(client.reason?.code).toBe("agent_unreachable");
    await clock.advance(2000);
    expect(clock.pending).toBe(0);
  });

  it("answers pings", async () => {
    const { raw } = rawClient();
    raw.hello();
    raw.send(KIND.ping, 0, 0, Buffer.from("12345678"));
    const pong = await raw.next(KIND.ping);
    expect([pong.flags, pong.payload.toString()]).toEqual([FLAG_PONG, "12345678"]);
  });
});

describe("over real sockets", () => {
  let server: Server | undefined;
  afterEach(() => void server?.close());

  it("moves 64 MiB both ways at once", async () => {
    const path = `/tmp/caisson-link-${process.pid}.sock`;
    server = createServer((socket) => make(socket, { role: "listener", onOpen: echo })).listen(path);
    await once(server, "listening");
    const socket: Socket = connect(path);
    const client = make(socket, { role: "dialler" });
    const call = client.open("Echo", {});
    const block = Buffer.alloc(1_048_576, 7);
    const sending = (async () => {
      for (let i = 0; i < 64; i++) await call.write(block, 1);
      call.end();
    })();
    let got = 0;
    for await (const frame of call) if (frame.kind === "data") got += frame.bytes.length;
    await sending;
    expect(got).toBe(64 * 1_048_576);
  });
});
