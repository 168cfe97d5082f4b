import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CountedDigest, countingBytes, countingSha256 } from "../harness/counting.ts";
import { openOutput, type OutputForm, type Said } from "../harness/output-connection.ts";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";
import { letCount, startCounting, written } from "../harness/slow-reader.ts";

const MIB = 1_048_576;
/** What a process may be ahead of its reader. */
const LIMIT = 16 * MIB;

async function digestOf(output: AsyncIterable<Said> | undefined, rest: (offset: number) => Promise<void> | undefined): Promise<string> {
  const digest = new CountedDigest();
  for await (const said of output ?? []) {
    if (said.type === "gap") throw new Error(`bytes ${said.from} to ${said.to} were lost`);
    if (said.type === "bytes") digest.add(said.offset, said.bytes);
    await rest(digest.next);
  }
  return digest.hex();
}

/** Readers that do not keep up, or whose connection is cut. */
export function slowReaders(target: () => SandboxTarget): void {
  let api: ApiAccess;
  let id = "";
  beforeAll(async () => {
    ({ api } = target());
    ({ id } = await target().createInfo());
  });
  afterAll(() => api.json("DELETE", `/sandboxes/${id}`));

  describe("a slow reader whose connection is cut", () => {
    it.each<OutputForm>(["records", "bytes"])("is told exactly what it missed when output is dropped, as %s", async (form) => {
      const bytes = 60_000_000;
      const running = await startCounting(api, id, bytes, { on_full: "drop", output_limit: MIB });
      let next = 0;
      let missed = 0;
      let ends = 0;
      await letCount(api, running);
      while (ends === 0) {
        let came = 0;
        try {
          for await (const said of await openOutput(api, running.path, { offset: next, form })) {
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
        if (ends === 0) await written(api, running, next + 3 * MIB);
      }
      expect(ends).toBe(1);
      expect(next).toBe(bytes);
      expect(missed).toBeGreaterThan(0);
    });
  });

  describe("several readers of one process", () => {
    it("each get every byte, at the pace of the slowest", { timeout: 300_000 }, async () => {
      const bytes = 60_000_000;
      const running = await startCounting(api, id, bytes, { on_full: "block", output_limit: LIMIT });
      const whole = countingSha256(bytes);
      const forms = ["records", "bytes", "records", "bytes"] as const;
      const [first, ...others] = await Promise.all(forms.map((form) => openOutput(api, running.path, { offset: 0, form })));
      await letCount(api, running);
      let rests = 0;
      const slow = digestOf(first, (offset) => {
        if (offset < rests * 10_000_000) return undefined;
        rests += 1;
        // It takes nothing until the process is ahead as far as it may.
        return written(api, running, offset + LIMIT - MIB);
      });
      const fast = others.map((output) => digestOf(output, () => undefined));
      expect(await Promise.all([slow, ...fast])).toEqual([whole, whole, whole, whole]);
      expect(rests).toBeGreaterThan(5);
    });
  });
}
