import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { CaissonError } from "@caisson/contract";
import { expect, it } from "vitest";
import { toldEnd } from "./told-end.ts";

/** What comes of an answer that breaks off behind these pieces. */
async function told(type: string, ...pieces: readonly string[]): Promise<string> {
  const stream = Readable.from(
    (async function* () {
      for (const piece of pieces) yield Buffer.from(piece);
      throw new Error("aborted");
    })(),
  );
  const answer = Object.assign(stream, { headers: { "content-type": type } }) as unknown as IncomingMessage;
  let text = "";
  const why = (cause: unknown): CaissonError => new CaissonError("worker_unavailable", "It is gone.", { cause });
  for await (const chunk of toldEnd(answer, why)) text += Buffer.from(chunk).toString();
  return text;
}

it.each([
  ["application/x-ndjson", ["{}\n", '{"a":1}\n'], /^\{\}\n\{"a":1\}\n\{"type":"error","code":"worker_unavailable",.*\}\n$/],
  ["application/x-ndjson", [], /^\{"type":"error",.*\}\n$/],
  ["text/event-stream", ["id: 1\n", "\n"], /^id: 1\n\nevent: error\ndata: \{"code":"worker_unavailable",.*"retryable":true\}\n\n$/],
  ["text/event-stream; charset=utf-8", [":\n\n"], /^:\n\nevent: error\n/],
])("a stream of %s that breaks off behind %j ends with its error", async (type, pieces, whole) => {
  expect(await told(type, ...pieces)).toMatch(whole);
});

it.each([
  ["application/x-ndjson", ["{}\n", '{"a"']],
  ["text/event-stream", ["id: 1\n"]],
  ["text/event-stream", ["\n", "data"]],
  ["application/octet-stream", ["bytes\n\n"]],
  ["application/json", ["{}\n"]],
])("%s that breaks off behind %j is broken off", async (type, pieces) => {
  await expect(told(type, ...pieces)).rejects.toMatchObject({ code: "worker_unavailable" });
});
