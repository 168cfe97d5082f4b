import { once } from "node:events";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { CaissonError, systemClock } from "@caisson/contract";
import Fastify from "fastify";
import { afterEach, expect, it } from "vitest";
import { answerWithStream } from "../exec/stream-output.ts";
import { RequestScope } from "./request-scope.ts";
import { streamEvents, type ServerSentEvent } from "./sse-stream.ts";

let close: (() => Promise<void>) | undefined;
afterEach(async () => close?.());

/** A server whose only route answers with what `source` gives. */
async function serve(source: (scope: RequestScope) => AsyncIterable<ServerSentEvent>, keepAliveMs = 60_000): Promise<string> {
  const app = Fastify();
  app.decorateRequest("scope", null as unknown as RequestScope);
  app.addHook("onRequest", async (request, reply) => {
    request.scope = new RequestScope("r1", systemClock);
    reply.raw.once("close", () => request.scope.clientGone());
  });
  app.get("/", (request, reply) =>
    answerWithStream(reply, () => streamEvents(request, reply, source(request.scope), { clock: systemClock, keepAliveMs })),
  );
  await app.listen({ host: "127.0.0.1", port: 0 });
  close = async () => {
    app.server.closeAllConnections();
    await app.close();
  };
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

it("sends ids, names and JSON, and tells the end", async () => {
  const url = await serve(async function* () {
    yield { event: "a", id: "1", data: { text: "line\nbreak" } };
    yield { event: "b", data: [1] };
  });
  const response = await fetch(url);
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  expect(await response.text()).toBe(
    'retry: 1000\n\nid: 1\nevent: a\ndata: {"text":"line\\nbreak"}\n\nevent: b\ndata: [1]\n\nevent: end\ndata: {}\n\n',
  );
});

it("tells a failure, and hides what is internal", async () => {
  const url = await serve(async function* () {
    yield { event: "a", data: {} };
    throw new Error("a secret of the inside");
  });
  const text = await (await fetch(url)).text();
  expect(text).not.toContain("secret");
  expect(JSON.parse(/event: error\ndata: (.*)\n/.exec(text)?.[1] ?? "")).toMatchObject({ code: "internal", retryable: false });
});

it("tells a silent stream's client that it lives, and that the server shuts down", async () => {
  let stop: (() => void) | undefined;
  const url = await serve((scope) => {
    stop = () => scope.abort(new CaissonError("shutting_down", "Soon back."));
    return { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) };
  }, 5);
  let text = "";
  for await (const chunk of (await fetch(url)).body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (text.split(":\n\n").length > 3) stop?.();
  }
  expect(text).toContain('event: error\ndata: {"code":"shutting_down","message":"Soon back."');
});

it("takes no more from its source than the client reads, and leaves it when the client goes", async () => {
  let taken = 0;
  let left = false;
  const url = await serve(async function* () {
    try {
      for (;;) {
        taken += 1;
        yield { event: "a", data: { fill: "x".repeat(100_000) } };
      }
    } finally {
      left = true;
    }
  });
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.pause();
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  let before = -1;
  await expect.poll(() => (taken > 0 && taken === before) || ((before = taken), false), { interval: 200 }).toBe(true);
  expect(taken).toBeLessThan(200); // what sockets hold, and no more
  socket.destroy();
  await once(socket, "close");
  await expect.poll(() => left).toBe(true);
});
