import { systemClock } from "@caisson/contract";
import { expect, it } from "vitest";
import { collectCode } from "./answer-code.ts";
import type { CodeEvent, CodeRun } from "./run-code.ts";

const RUN: CodeRun = {
  context: { id: 1, language: "python" },
  executionId: "0",
  code: "",
  timeoutMs: 0,
  waitMs: 0,
  graceMs: 0,
  clock: systemClock,
};
const END: CodeEvent = { type: "end", status: "ok", error: null, duration_ms: 1, context_ended: false };

const result = (main: boolean, n: number, size = 1): CodeEvent => ({
  type: "result",
  result: { is_main_result: main, formats: { "text/plain": String(n) }, omitted: [] },
  size,
});

it("gathers a thousand results and the last that is called the main one, however many are", async () => {
  async function* events(): AsyncGenerator<CodeEvent> {
    yield { type: "start" };
    for (let n = 0; n < 5_000; n += 1) yield result(n % 2 === 0, n);
    yield result(true, 5_000);
    yield END;
  }
  const { results } = await collectCode(RUN, events());
  expect(results).toHaveLength(1_001);
  expect(results.at(-1)?.formats["text/plain"]).toBe("5000");
});

it("names what a whole answer has no room for", async () => {
  async function* events(): AsyncGenerator<CodeEvent> {
    yield result(false, 1, 20_000_000);
    yield result(true, 2, 20_000_000);
    yield END;
  }
  expect((await collectCode(RUN, events())).results).toEqual([
    { is_main_result: false, formats: { "text/plain": "1" }, omitted: [] },
    { is_main_result: true, formats: {}, omitted: ["text/plain"] },
  ]);
});
