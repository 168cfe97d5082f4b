import { expect, test } from "vitest";
import { Caisson } from "./index.ts";
import { Code } from "./code.ts";
import { HttpPeer } from "./testing/http-peer.ts";

const END = { type: "end", execution_id: "e", context_id: 1, status: "ok", error: null, duration_ms: 1, context_ended: false };
const START = { type: "start", execution_id: "e", context_id: 1 };
const result = (main: boolean, text: string): object => ({
  type: "result",
  is_main_result: main,
  formats: { "text/plain": text },
  omitted: [],
});

/** A server whose code says these records. */
function saying(...records: object[]): Promise<HttpPeer> {
  return HttpPeer.listen((_request, response) => {
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.end(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  });
}

const codeOf = (peer: HttpPeer): Code => new Code(new Caisson({ url: peer.url, apiKey: "k" }).http, "sb");

test("an outcome keeps as much as was asked for, and says when there was more", async () => {
  await using peer = await saying(START, { type: "stdout", text: "abc" }, { type: "alive" }, { type: "stdout", text: "def" }, END);
  const heard: string[] = [];
  const outcome = await codeOf(peer).run("", { maxOutput: 4, onStdout: (text) => heard.push(text) });
  expect(outcome).toMatchObject({ stdout: "abcd", stderr: "", truncated: true, status: "ok" });
  expect(heard).toEqual(["abc", "def"]);
  expect(await codeOf(peer).run("")).toMatchObject({ stdout: "abcdef", truncated: false });
});

test("a flood of results leaves the first thousand and the main one", async () => {
  const flood = Array.from({ length: 1_500 }, (_, n) => result(n % 2 === 0, String(n)));
  await using peer = await saying(START, ...flood, result(true, "the value"), END);
  const { results, truncated, text } = await codeOf(peer).run("");
  expect([results.length, results.at(-1)?.formats["text/plain"], truncated]).toEqual([1_001, "the value", true]);
  expect(text).toBe("the value");
});

test("a stream that ends without an end is no outcome", async () => {
  await using peer = await saying({ type: "stdout", text: "abc" });
  await expect(codeOf(peer).run("")).rejects.toMatchObject({ code: "protocol_error" });
});
