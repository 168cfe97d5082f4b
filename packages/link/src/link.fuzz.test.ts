import { duplexPair } from "node:stream";
import { setImmediate as turn } from "node:timers/promises";
import { isCaissonError, type Channel } from "@caisson/contract";
import { chaosPair, fuzzPlan, SeededRandom, VirtualClock } from "@caisson/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame, KIND } from "./frame.ts";
import type { IncomingCall } from "./incoming-call.ts";
import { Link } from "./link.ts";
import { encodeMap } from "./messagepack-encode.ts";

const plan = fuzzPlan(1500);
const replay = (seed: number): string => `replay: CAISSON_FUZZ_SEED=${seed} CAISSON_FUZZ_CASES=1`;

function map(random: SeededRandom): Buffer {
  return encodeMap(
    random.pick<Record<string, unknown>>([
      { method: "X", params: {} },
      { method: "X", params: { a: random.int(0, 9) }, deadline_ms: random.int(0, 9) },
      { type: "exit", code: 0 },
      { code: "io_error", message: "m" },
      { protocol: [1, 1], build: "b", features: [] },
      {},
    ]),
    0,
    1000,
  );
}

/** A frame that is right more often than not, so that the state behind the parser is reached. */
function frame(random: SeededRandom): Buffer {
  const kind = random.int(1, 8);
  const channel = kind === KIND.hello || kind === KIND.ping ? 0 : random.int(0, 12);
  const flags = random.pick([0, 0, 0, 0x80, 0xc0, 0x40, 1, 2, random.int(0, 255)]);
  const payload =
    kind === KIND.data
      ? random.bytes(random.int(0, 200))
      : kind === KIND.credit
        ? Buffer.from([random.int(0, 1) * 255, 0, 0, random.int(0, 3)])
        : kind === KIND.ping
          ? random.bytes(8)
          : kind === KIND.end && flags === 0
            ? new Uint8Array(0)
            : map(random);
  const bytes = encodeFrame(kind, channel, flags, payload);
  const mutations = random.pick([0, 0, 0, 1, 3]);
  for (let i = 0; i < mutations; i++) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
  return random.chance(0.05) ? bytes.subarray(0, random.int(0, bytes.length)) : bytes;
}

async function attack(seed: number): Promise<string> {
  const random = new SeededRandom(seed);
  const clock = new VirtualClock();
  const role = random.pick(["dialler", "listener"] as const);
  const [a, b] = duplexPair();
  const incoming: IncomingCall[] = [];
  const link = new Link(a, {
    role,
    clock,
    onOpen: (call) => {
      incoming.push(call);
      if (random.chance(0.7)) call.reply({}, random.chance(0.3) ? { fin: true } : {});
      if (random.chance(0.3)) void call.write(Buffer.alloc(random.int(0, 300_000)), 1);
    },
  });
  b.on("error", () => undefined);
  b.resume();
  const calls: Channel[] = [];
  for (let i = random.int(0, 4); i > 0; i--) calls.push(link.open("Y", {}, random.chance(0.5) ? { noInput: true } : {}));
  const drained = calls.map(async (call) => {
    try {
      for await (const item of call) if (item.kind === "data" && item.bytes.length === 0) return "an empty piece";
      return "ended";
    } catch (error) {
      return isCaissonError(error) ? "named" : String(error);
    }
  });
  if (random.chance(0.95)) b.write(encodeFrame(KIND.hello, 0, 0, encodeMap({ protocol: [1, 1], build: "b", features: [] }, 0, 1000)));
  for (let i = random.int(1, 40); i > 0; i--) {
    b.write(random.chance(0.03) ? random.bytes(random.int(1, 50)) : frame(random));
    if (random.chance(0.2)) await turn();
  }
  await turn();
  const before = link.reason?.code ?? "alive";
  b.end();
  const reason = await link.closed;
  for (const outcome of await Promise.all(drained)) expect(["ended", "named"]).toContain(outcome);
  await Promise.all([...calls.map((call) => call.closed), ...incoming.map((call) => call.closed)]);
  await clock.advance(20_000);
  expect(link.openChannels).toBe(0);
  expect(clock.pending).toBe(0);
  expect(["protocol_error", "agent_unreachable", "io_error", "internal"]).toContain(reason.code);
  return before;
}

describe("hostile frames", () => {
  it(`end the link by a named error and leak nothing (${plan.cases} cases from seed ${plan.seed})`, async () => {
    const outcomes: Record<string, number> = {};
    for (let i = 0; i < plan.cases; i++) {
      const seed = (plan.seed + i) >>> 0;
      try {
        const outcome = await attack(seed);
        outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      } catch (cause) {
        throw new Error(`seed ${seed} failed; ${replay(seed)}`, { cause });
      }
    }
    // Most attacks must get as far as being noticed, else the fuzzer tests nothing.
    expect((outcomes["protocol_error"] ?? 0) * 2 + (plan.cases > 100 ? 0 : plan.cases * 2)).toBeGreaterThan(plan.cases);
  }, 120_000);
});

/** Sums what a channel carries, so that order and content are compared without keeping it. */
function mix(sum: number, bytes: Uint8Array): number {
  let next = sum;
  for (const byte of bytes) next = (Math.imul(next, 31) + byte) | 0;
  return next;
}

describe("channels between honest sides", () => {
  it("stay whole and apart under any interleaving, split and pace", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const random = new SeededRandom(seed);
        const [a, b] = chaosPair({ random, maxPiece: random.pick([50, 1000, 70_000]) });
        const clock = new VirtualClock();
        const server = new Link(b, { role: "listener", clock, onOpen: (call) => void echo(call) });
        const client = new Link(a, { role: "dialler", clock });
        const echo = async (call: IncomingCall): Promise<void> => {
          call.reply(call.params);
          for await (const item of call) if (item.kind === "data") await call.write(item.bytes, item.stream);
          call.end();
        };
        const big = random.chance(0.2);
        const run = async (n: number): Promise<void> => {
          const call = client.open("Echo", { n });
          let sent = 0;
          const send = (async () => {
            for (let i = random.int(0, 6); i > 0; i--) {
              const bytes = random.bytes(random.int(0, big ? 60_000 : 2000));
              sent = mix(sent, bytes);
              await call.write(bytes, i % 3);
            }
            call.end();
          })();
          let got = 0;
          for await (const item of call) {
            if (item.kind === "data") got = mix(got, item.bytes);
            if (random.chance(0.3)) await turn();
          }
          await send;
          expect([await call.reply, got]).toEqual([{ n }, sent]);
        };
        await Promise.all(Array.from({ length: random.int(1, 8) }, (_, n) => run(n)));
        expect([client.openChannels, server.openChannels]).toEqual([0, 0]);
        client.close();
        await server.closed;
      }),
      { numRuns: 15 },
    );
  }, 60_000);

  it("settle every call by a result or the named error wherever the stream is cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 6000 }), async (seed, cutAfter) => {
        const [a, b] = chaosPair({ random: new SeededRandom(seed), maxPiece: 50, cutAfter });
        const clock = new VirtualClock();
        const server = new Link(b, {
          role: "listener",
          clock,
          onOpen: (call) => {
            call.reply({});
            void call.write(Buffer.alloc(1000), 1);
            call.end();
          },
        });
        const client = new Link(a, { role: "dialler", clock, lostCode: "worker_unavailable" });
        const outcomes = await Promise.all(
          Array.from({ length: 6 }, async () => {
            let got = 0;
            try {
              for await (const item of client.open("X", {}, { noInput: true })) if (item.kind === "data") got += item.bytes.length;
              return got === 1000 ? "whole" : `cut short silently at ${got}`;
            } catch (error) {
              return isCaissonError(error) ? error.code : String(error);
            }
          }),
        );
        for (const outcome of outcomes) expect(["whole", "worker_unavailable"]).toContain(outcome);
        client.close();
        server.close();
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
