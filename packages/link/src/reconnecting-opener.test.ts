import { duplexPair, type Duplex } from "node:stream";
import { CaissonError, isCaissonError, systemClock } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { describe, expect, it } from "vitest";
import type { IncomingCall } from "./incoming-call.ts";
import { Link } from "./link.ts";
import { ReconnectingOpener } from "./reconnecting-opener.ts";
import { relay } from "./relay.ts";

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (isCaissonError(error) ? error.code : String(error)),
  );
}

function listener(onOpen: (call: IncomingCall) => void): { connect: () => Promise<Duplex>; dials: () => number; servers: Link[] } {
  const servers: Link[] = [];
  return {
    servers,
    dials: () => servers.length,
    connect: () => {
      const [a, b] = duplexPair();
      servers.push(new Link(b, { role: "listener", clock: systemClock, onOpen }));
      return Promise.resolve(a);
    },
  };
}

describe("reconnecting opener", () => {
  it("dials once for many calls, and again when next used after a break", async () => {
    const far = listener((call) => (call.method === "Hang" ? undefined : call.reply({ n: far.dials() }, { fin: true })));
    const opener = new ReconnectingOpener({ connect: far.connect, clock: systemClock, lostCode: "worker_unavailable" });
    const replies = await Promise.all([1, 2, 3].map(() => opener.open("X", {}, { noInput: true }).reply));
    expect([replies, far.dials()]).toEqual([[{ n: 1 }, { n: 1 }, { n: 1 }], 1]);
    const hanging = opener.open("Hang", {});
    far.servers[0]!.close();
    expect(await code(hanging.reply)).toBe("worker_unavailable");
    expect(await opener.open("X", {}, { noInput: true }).reply).toEqual({ n: 2 });
    opener.close();
    expect(await code(opener.open("X", {}).reply)).toBe("worker_unavailable");
    await far.servers[1]!.closed;
  });

  it("streams through a call made before the link was up, in order", async () => {
    const far = listener((call) => {
      void (async () => {
        call.reply({});
        for await (const frame of call) if (frame.kind === "data") await call.write(frame.bytes);
        call.end();
      })();
    });
    const opener = new ReconnectingOpener({ connect: far.connect, clock: systemClock });
    const call = opener.open("Echo", {});
    for (const text of ["a", "b", "c"]) void call.write(Buffer.from(text));
    call.end();
    let got = "";
    for await (const frame of call) if (frame.kind === "data") got += Buffer.from(frame.bytes).toString();
    expect(got).toBe("abc");
    await call.closed;
    opener.close();
  });

  it("fails with the named error, waits longer after each failure, and recovers", async () => {
    const clock = new VirtualClock();
    const times: number[] = [];
    let broken = true;
    const far = listener((call) => call.reply({}, { fin: true }));
    const opener = new ReconnectingOpener({
      clock,
      backoffMs: [100, 250],
      connect: () => {
        times.push(clock.monotonic());
        return broken ? Promise.reject(new Error("refused")) : far.connect();
      },
    });
    for (let i = 0; i < 4; i++) {
      const result = code(opener.open("X", {}).reply);
      await clock.advance(250);
      expect(await result).toBe("agent_unreachable");
    }
    const ends = times.map((at) => at % 250);
    expect([times.length, ends]).toEqual([4, [0, 0, 0, 0]]);
    broken = false;
    const result = opener.open("X", {}, { noInput: true }).reply;
    await clock.advance(250);
    expect(await result).toEqual({});
    opener.close();
  });

  it("keeps deadline, signal and cancel while it dials, and destroys a stream that comes too late", async () => {
    const clock = new VirtualClock();
    const late = Promise.withResolvers<Duplex>();
    const opener = new ReconnectingOpener({ clock, connect: () => late.promise, connectDeadlineMs: 500 });
    const controller = new AbortController();
    const calls = [
      opener.open("A", {}, { deadlineMs: 20 }),
      opener.open("B", {}, { signal: controller.signal }),
      opener.open("C", {}),
      opener.open("D", {}),
    ];
    await clock.advance(20);
    controller.abort();
    calls[2]!.cancel();
    await clock.advance(480);
    expect(await Promise.all(calls.map((call) => code(call.reply)))).toEqual([
      "deadline_exceeded",
      "cancelled",
      "cancelled",
      "agent_unreachable",
    ]);
    const [a] = duplexPair();
    late.resolve(a);
    await clock.advance(0);
    expect(a.destroyed).toBe(true);
  });

  it("destroys a connection whose handshake never ends", async () => {
    const clock = new VirtualClock();
    const [a] = duplexPair();
    const opener = new ReconnectingOpener({ clock, connect: () => Promise.resolve(a), connectDeadlineMs: 300 });
    const result = code(opener.ready());
    await clock.advance(300);
    expect(await result).toBe("agent_unreachable");
    await clock.advance(2000);
    expect([a.destroyed, clock.pending]).toEqual([true, 0]);
  });
});

describe("relay", () => {
  async function chain(onOpen: (call: IncomingCall) => void): Promise<{ client: Link; middle: Link; far: Link }> {
    const [a, b] = duplexPair();
    const [c, d] = duplexPair();
    const far = new Link(d, { role: "listener", clock: systemClock, onOpen });
    const middle = new Link(c, { role: "dialler", clock: systemClock });
    const entry = new Link(b, {
      role: "listener",
      clock: systemClock,
      onOpen: (call) => void relay(call, middle.open(call.method, call.params)),
    });
    const client = new Link(a, { role: "dialler", clock: systemClock });
    await Promise.all([client.ready, middle.ready, entry.ready]);
    return { client, middle, far };
  }

  it("forwards replies, bytes and events, and slows the source at the consumer's pace", async () => {
    let sent = 0;
    const { client, middle } = await chain((call) => {
      void (async () => {
        call.reply({ echo: call.params });
        for (let i = 0; i < 200; i++) {
          await call.write(Buffer.alloc(16_384, i), 1);
          sent += 16_384;
        }
        await call.sendEvent({ type: "exit", code: 0 }, { fin: true });
      })();
    });
    const call = client.open("X", { a: 1 }, { noInput: true });
    expect(await call.reply).toEqual({ echo: { a: 1 } });
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toBeLessThan(3 * 262_144);
    let bytes = 0;
    let last: unknown;
    for await (const frame of call) {
      if (frame.kind === "data") bytes += frame.bytes.length;
      else last = frame.event;
    }
    expect([bytes, last]).toEqual([200 * 16_384, { type: "exit", code: 0 }]);
    await call.closed;
    expect(middle.openChannels).toBe(0);
  });

  it("forwards failures and cancels", async () => {
    const seen: IncomingCall[] = [];
    const { client, middle } = await chain((call) => {
      seen.push(call);
      if (call.method === "Fail") call.fail(new CaissonError("no_space", "full"));
    });
    await expect(client.open("Fail", {}).reply).rejects.toMatchObject({ code: "no_space", message: "full" });
    const call = client.open("Hang", {});
    await client.open("Fail", {}).reply.catch(() => undefined);
    call.cancel();
    await Promise.all(seen.map((incoming) => incoming.closed));
    expect(middle.openChannels).toBe(0);
  });
});
