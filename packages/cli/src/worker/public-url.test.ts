import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { VirtualClock } from "@caisson/testkit";
import { afterEach, beforeEach, expect, it } from "vitest";
import { publicUrlProblem, PublicUrlWatch } from "./public-url.ts";

let server: Server;
let url: string;
let answer: RequestListener;
beforeEach(async () => {
  server = createServer((request, response) => answer(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => server.close());

const says = (value: unknown): RequestListener => {
  return (_request, response) => response.end(JSON.stringify(value));
};
const problem = (): Promise<string | undefined> => publicUrlProblem({ url, workerId: "worker-a", ca: () => [] });

it("finds its own worker, and nobody else", async () => {
  let asked: string | undefined;
  answer = (request, response) => {
    asked = request.url;
    response.end(JSON.stringify({ status: "alive", version: "1", worker_id: "worker-a" }));
  };
  expect(await problem()).toBeUndefined();
  // What clients look at, too.
  expect(asked).toBe("/api/v1/live?worker_id=worker-a");

  for (const value of [{ status: "alive", version: "1" }, { status: "alive", worker_id: "worker-b" }, null, "text"]) {
    answer = says(value);
    expect(await problem()).toBe("something else answers, or another worker");
  }
  answer = (_request, response) => response.end("<html>");
  expect(await problem()).toBe("something else answers, or another worker");
  // Clients follow no redirect either.
  answer = (_request, response) => response.writeHead(302, { location: "/elsewhere" }).end();
  expect(await problem()).toBe("something else answers, with HTTP status 302");
  // A switch that nobody asked for has no answer, and no error.
  answer = (request) => request.socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  expect(await problem()).toBe("nothing answers: the connection was closed without an answer");
  // Without an end: no more is read than any answer needs.
  answer = (_request, response) => {
    const more = (): void => void (response.writable && response.write("x".repeat(16_384), more));
    more();
  };
  expect(await problem()).toBe("something else answers, or another worker");
  const broken = await publicUrlProblem({
    url,
    workerId: "worker-a",
    ca: () => {
      throw new Error("no such file");
    },
  });
  expect(broken).toContain("no such file");
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect(await problem()).toBe("nothing answers: ECONNREFUSED");
});

it("tells what is wrong once while it is so, that it may not be, and when it is over", async () => {
  const clock = new VirtualClock();
  const lines: [string, Readonly<Record<string, unknown>> | undefined][] = [];
  const log = (level: string, _message: string, fields?: Readonly<Record<string, unknown>>): void => void lines.push([level, fields]);
  let asked = 0;
  let named = "worker-b";
  answer = (_request, response) => {
    asked += 1;
    response.end(JSON.stringify({ worker_id: named }));
  };
  /** Until it has looked and rests. */
  const rests = async (): Promise<void> => {
    await expect.poll(() => clock.pending).toBe(1);
  };
  using _watch = new PublicUrlWatch({ url, workerId: "worker-a", ca: () => [], clock, log });
  await rests();
  expect(lines).toMatchObject([["warn", { public_url: url, reason: "something else answers, or another worker" }]]);
  expect(lines[0]?.[1]?.["remedy"]).toContain("may be right all the same");
  for (let minute = 0; minute < 3; minute += 1) {
    await clock.advance(60_000);
    await rests();
  }
  expect([asked, lines.length]).toEqual([4, 1]);
  named = "worker-a";
  await clock.advance(60_000);
  await rests();
  expect(lines.map(([level]) => level)).toEqual(["warn", "info"]);
  await clock.advance(599_999);
  expect(asked).toBe(5);
  await clock.advance(1);
  await rests();
  expect([asked, lines.length]).toEqual([6, 2]);
});
