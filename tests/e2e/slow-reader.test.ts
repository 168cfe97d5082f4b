import type { Process, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CountedDigest, countingBytes, countingSha256 } from "../harness/counting.ts";
import { openOutput, type OutputForm, type Said } from "../harness/output-connection.ts";
import { TestServer } from "../harness/server.ts";
import { letCount, readCutUp, startCounting, written } from "../harness/slow-reader.ts";

const MIB = 1_048_576;
/** What a process may be ahead of its reader. */
const LIMIT = 16 * MIB;

let server: TestServer;
let id: string;
beforeAll(async () => {
  server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
  id = (await server.json<Sandbox>("POST", "/sandboxes", {})).id;
});
afterAll(() => server[Symbol.asyncDispose]());

describe("a slow reader whose connection is cut", () => {
  it.each<[OutputForm, number]>([
    ["records", 200_000_000],
    ["bytes", 200_000_000],
  ])("gets every byte once, as %s, and nothing of ours grows", { timeout: 300_000 }, async (form, bytes) => {
    const running = await startCounting(server, id, bytes, { on_full: "block", output_limit: LIMIT });
    const { connections } = await readCutUp({
      server,
      running,
      bytes,
      form,
      cut: (progress) => progress.bytes >= 25_000_000,
      away: async (offset) => {
        // Nobody reads: the process writes on until its log is full, and stands still there.
        await written(server, running, offset + LIMIT - MIB);
        const { stdout } = await server.json<Process>("GET", running.path);
        expect(stdout.start).toBeLessThanOrEqual(offset);
        expect(stdout.end - stdout.start).toBeLessThanOrEqual(2 * LIMIT);
      },
    });
    expect(connections).toBeGreaterThanOrEqual(8);
  });

  it.each<OutputForm>(["records", "bytes"])("is told exactly what it missed when output is dropped, as %s", async (form) => {
    const bytes = 60_000_000;
    const running = await startCounting(server, id, bytes, { on_full: "drop", output_limit: MIB });
    let next = 0;
    let missed = 0;
    let ends = 0;
    await letCount(server, running);
    while (ends === 0) {
      let came = 0;
      try {
        for await (const said of await openOutput(server, running.path, { offset: next, form })) {
          if (said.type === "end") ends += 1;
          else if (said.type === "gap") {
            expect(said.from).toBe(next);
            missed += said.to - said.from;
            next = said.to;
          } else {
            expect(said.offset).toBe(next);
            expect(countingBytes(next, next + said.bytes.length).equals(said.bytes)).toBe(true);
            next += said.bytes.length;
            came += said.bytes.length;
            if (came > 300_000) break;
          }
        }
      } catch (error) {
        // Bytes alone cannot tell of a gap in their middle: the connection breaks, and the next one tells.
        if (form === "records" || ends > 0) throw error;
      }
      if (ends === 0) await written(server, running, next + 3 * MIB);
    }
    expect(ends).toBe(1);
    expect(next).toBe(bytes);
    expect(missed).toBeGreaterThan(0);
  });
});

describe("several readers of one process", () => {
  it("each get every byte, at the pace of the slowest", { timeout: 120_000 }, async () => {
    const bytes = 60_000_000;
    const running = await startCounting(server, id, bytes, { on_full: "block", output_limit: LIMIT });
    const whole = countingSha256(bytes);
    const forms = ["records", "bytes", "records", "bytes"] as const;
    const [first, ...others] = await Promise.all(forms.map((form) => openOutput(server, running.path, { offset: 0, form })));
    await letCount(server, running);
    let rests = 0;
    const slow = digestOf(first, (offset) => {
      if (offset < rests * 10_000_000) return undefined;
      rests += 1;
      // It takes nothing until the process is ahead as far as it may.
      return written(server, running, offset + LIMIT - MIB);
    });
    const fast = others.map((output) => digestOf(output, () => undefined));
    expect(await Promise.all([slow, ...fast])).toEqual([whole, whole, whole, whole]);
    expect(rests).toBeGreaterThan(5);
  });
});

async function digestOf(output: AsyncIterable<Said> | undefined, rest: (offset: number) => Promise<void> | undefined): Promise<string> {
  const digest = new CountedDigest();
  for await (const said of output ?? []) {
    if (said.type === "gap") throw new Error(`bytes ${said.from} to ${said.to} were lost`);
    if (said.type === "bytes") digest.add(said.offset, said.bytes);
    await rest(digest.next);
  }
  return digest.hex();
}
