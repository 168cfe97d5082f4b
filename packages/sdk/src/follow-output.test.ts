import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { CommandEvent } from "./command-event.ts";
import { followOutput, type OutputOffsets } from "./follow-output.ts";

type Said = readonly { readonly stream: "stdout" | "stderr"; readonly bytes: Uint8Array }[];

const encoder = new TextEncoder();
const line = (record: unknown): Uint8Array => encoder.encode(`${JSON.stringify(record)}\n`);
const exit = { type: "exit", exit_code: 3, signal: null, duration_ms: 5, timed_out: false, stdout_bytes: 0, stderr_bytes: 0 };

/** What a server sends of a process, from offsets on; `early` bytes of each stream come again. */
function transcript(said: Said, from: OutputOffsets, early: number): Uint8Array {
  const at = { stdout: 0, stderr: 0 };
  const lines = [line({ type: "start", process_id: 7, pid: 70 })];
  for (const { stream, bytes } of said) {
    const begin = Math.max(at[stream], (from[stream] ?? 0) - early);
    const end = at[stream] + bytes.length;
    if (begin < end) {
      const data = Buffer.from(bytes.subarray(begin - at[stream])).toString("base64");
      lines.push(line({ type: "output", stream, offset: begin, data, encoding: "base64" }));
    }
    at[stream] = end;
  }
  return Buffer.concat([...lines, line(exit)]);
}

async function* bytesOf(whole: Uint8Array, cut: number | undefined): AsyncGenerator<Uint8Array> {
  yield whole.subarray(0, cut);
  if (cut !== undefined && cut < whole.length && cut % 2 === 0) throw new TypeError("terminated");
}

async function collect(events: AsyncIterable<CommandEvent>): Promise<CommandEvent[]> {
  const all: CommandEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

function joined(events: readonly CommandEvent[], stream: "stdout" | "stderr"): Buffer {
  return Buffer.concat(events.flatMap((event) => (event.type === "output" && event.stream === stream ? [event.bytes] : [])));
}

describe("followOutput", () => {
  test("loses and doubles no byte, wherever the stream breaks", async () => {
    const piece = fc.record({ stream: fc.constantFrom("stdout" as const, "stderr" as const), bytes: fc.uint8Array({ maxLength: 40 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 12 }),
        fc.array(fc.nat(900), { maxLength: 6 }),
        fc.nat(30),
        async (said, cuts, early) => {
          const breaks = [...cuts];
          const first = Math.max(breaks.shift() ?? 10_000, line({ type: "start", process_id: 7, pid: 70 }).length);
          const events = await collect(
            followOutput({
              open: () => Promise.resolve(bytesOf(transcript(said, {}, 0), first)),
              resume: (id, from) => {
                expect(id).toBe(7);
                return Promise.resolve(bytesOf(transcript(said, from, early), breaks.shift()));
              },
              from: { stdout: 0, stderr: 0 },
              signal: undefined,
              backoffMs: 0,
            }),
          );
          for (const stream of ["stdout", "stderr"] as const) {
            const wanted = Buffer.concat(said.filter((one) => one.stream === stream).map((one) => one.bytes));
            expect(joined(events, stream).equals(wanted)).toBe(true);
          }
          expect(events[0]).toEqual({ type: "start", processId: 7, pid: 70 });
          expect(events.filter((event) => event.type === "start" || event.type === "exit")).toHaveLength(2);
          expect(events.at(-1)).toMatchObject({ type: "exit", exitCode: 3 });
        },
      ),
      { numRuns: 300 },
    );
  });

  const start = line({ type: "start", process_id: 7, pid: 70 });
  const source = (first: readonly Uint8Array[], later: () => AsyncIterable<Uint8Array>) => ({
    open: () => Promise.resolve(ReadableStream.from(first) as AsyncIterable<Uint8Array>),
    resume: () => Promise.resolve(later()),
    from: { stdout: 0, stderr: 0 },
    signal: undefined,
    backoffMs: 0,
  });

  test("a stream that ends before it said the process id throws", async () => {
    let resumed = 0;
    const events = followOutput(source([], () => ((resumed += 1), ReadableStream.from([start]) as AsyncIterable<Uint8Array>)));
    await expect(collect(events)).rejects.toMatchObject({ code: "protocol_error" });
    expect(resumed).toBe(0);
  });

  test("a stream that never tells the end is given up after bounded attempts", async () => {
    let resumed = 0;
    const events = followOutput(source([start], () => ((resumed += 1), ReadableStream.from([start]) as AsyncIterable<Uint8Array>)));
    await expect(collect(events)).rejects.toMatchObject({ code: "protocol_error" });
    expect(resumed).toBe(17);
  });

  test("an error record that is final is thrown at once, with its code", async () => {
    let resumed = 0;
    const error = line({ type: "error", code: "sandbox_destroyed", message: "gone", remedy: "make another" });
    const events = followOutput(source([start, error], () => ((resumed += 1), ReadableStream.from([start]) as AsyncIterable<Uint8Array>)));
    await expect(collect(events)).rejects.toMatchObject({ code: "sandbox_destroyed", message: "gone", remedy: "make another" });
    expect(resumed).toBe(0);
  });

  test("an error record that may pass is overcome", async () => {
    const error = line({ type: "error", code: "agent_unreachable", message: "blink", remedy: "" });
    const events = await collect(
      followOutput(source([start, error], () => ReadableStream.from([start, line(exit)]) as AsyncIterable<Uint8Array>)),
    );
    expect(events.map((event) => event.type)).toEqual(["start", "exit"]);
  });

  test("bytes left out without a gap are an error", async () => {
    const later = line({ type: "output", stream: "stdout", offset: 5, data: "x" });
    const events = followOutput(source([start, later], () => ReadableStream.from([start, later]) as AsyncIterable<Uint8Array>));
    await expect(collect(events)).rejects.toMatchObject({
      code: "protocol_error",
      message: expect.stringContaining("left out bytes 0 to 5"),
    });
  });

  test("a gap moves the offset on", async () => {
    const records = [{ type: "gap", stream: "stdout", from: 0, to: 5 }, { type: "output", stream: "stdout", offset: 5, data: "xy" }, exit];
    const events = await collect(
      followOutput(source([start, ...records.map(line)], () => ReadableStream.from([start]) as AsyncIterable<Uint8Array>)),
    );
    expect(events.map((event) => event.type)).toEqual(["start", "gap", "output", "exit"]);
  });
});
