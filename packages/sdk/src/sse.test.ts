import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { Caisson } from "./index.ts";
import { followEvents, type SseMessage, type SseRequest } from "./sse.ts";
import { HttpPeer, sendJson } from "./testing/http-peer.ts";

const message = (id: number | undefined, data: object = { n: id }, event = "x"): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
const END = message(undefined, {}, "end");

/** Answers the first request with the first script, and so on; the last one goes on for ever. */
function scripted(...scripts: ((response: ServerResponse, request: IncomingMessage) => unknown)[]): Promise<HttpPeer> {
  let count = 0;
  return HttpPeer.listen((request, response) => {
    const script = scripts[Math.min(count, scripts.length - 1)];
    count += 1;
    script?.(response, request);
  });
}

/** Sends some bytes and breaks the connection. */
function breakOff(response: ServerResponse, text: string): void {
  response.writeHead(200, { "content-type": "text/event-stream" }).write(text, () => response.destroy());
}

function begin(response: ServerResponse, text: string): ServerResponse {
  response.writeHead(200, { "content-type": "text/event-stream" }).write(text);
  return response;
}

const from = (peer: HttpPeer, more: Partial<SseRequest> = {}): SseRequest => ({
  http: new Caisson({ url: peer.url, apiKey: "k" }).http,
  path: "/events/stream",
  backoffMs: 1,
  ...more,
});

async function all(request: SseRequest): Promise<SseMessage[]> {
  const got: SseMessage[] = [];
  for await (const one of followEvents(request)) got.push(one);
  return got;
}

describe("followEvents", () => {
  test("reads messages however the bytes are split, and ends when the server says so", async () => {
    const text = `retry: 5\n\n:\n\n${message(1, { text: "äß\n" })}${message(2)}${END}`;
    await using peer = await scripted(async (response) => {
      begin(response, "");
      for (const byte of Buffer.from(text)) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
      response.end();
    });
    expect(await all(from(peer, { query: { after: 0 } }))).toEqual([
      { event: "x", id: "1", data: { text: "äß\n" } },
      { event: "x", id: "2", data: { n: 2 } },
    ]);
    expect(peer.requests).toEqual(["GET /api/v1/events/stream?after=0"]);
  });

  test("goes on after a break, a shutdown and a silence, with the id of the last message", async () => {
    const ids: unknown[] = [];
    const note = (request: IncomingMessage): void => void ids.push(request.headers["last-event-id"]);
    const shutdown = message(undefined, { code: "shutting_down", message: "bye", remedy: "" }, "error");
    await using peer = await scripted(
      (response, request) => (note(request), breakOff(response, `${message(1)}id: 2\neve`)),
      (response, request) => (note(request), begin(response, message(2) + shutdown).end()),
      (response, request) => (note(request), sendJson(response, 503, { code: "shutting_down", message: "not yet" })),
      (response, request) => (note(request), void begin(response, `${message(3)}id: 7\n\n`)), // and then nothing
      (response, request) => (note(request), begin(response, message(8) + END).end()),
    );
    expect((await all(from(peer, { lastEventId: "0", silenceMs: 3_000 }))).map((one) => one.id)).toEqual(["1", "2", "3", "8"]);
    expect(ids).toEqual(["0", "1", "2", "2", "7"]);
  });

  test("throws when the first request fails, when the server fails for good, and when it stays away", async () => {
    const gone = { code: "sandbox_destroyed", message: "It has ended.", remedy: "Create a new one." };
    await using refusing = await scripted((response) => sendJson(response, 410, gone));
    await expect(all(from(refusing))).rejects.toMatchObject({ code: "sandbox_destroyed" });
    await using failing = await scripted((response) => begin(response, message(1) + message(undefined, gone, "error")).end());
    await expect(all(from(failing))).rejects.toMatchObject({ code: "sandbox_destroyed", message: "It has ended." });
    await using leaving = await scripted(
      (response) => breakOff(response, message(1)),
      (response) => void response.destroy(),
    );
    await expect(all(from(leaving, { patienceMs: 20 }))).rejects.toMatchObject({ code: "server_unreachable" });
    await using ending = await scripted(
      (response) => breakOff(response, message(1)),
      (response) => response.writeHead(200, { "content-type": "text/event-stream" }).end(),
    );
    await expect(all(from(ending, { patienceMs: 20 }))).rejects.toMatchObject({ code: "server_unreachable" });
    await using wrong = await scripted((response) => begin(response, "data: [1]\n\n").end());
    await expect(all(from(wrong))).rejects.toMatchObject({ code: "protocol_error" });
  });

  test("throws the reason of an aborted signal, also in a silence, and cancels when it is left", async () => {
    let closed = 0;
    await using peer = await scripted((response) => {
      response.once("close", () => (closed += 1));
      begin(response, message(1));
    });
    const abort = new AbortController();
    const following = followEvents(from(peer, { signal: abort.signal }));
    expect((await following.next()).value).toMatchObject({ id: "1" });
    const next = following.next();
    abort.abort(new Error("enough"));
    await expect(next).rejects.toThrow("enough");
    for await (const one of followEvents(from(peer))) if (one.id === "1") break;
    await expect.poll(() => closed).toBe(2);
  });
});
