import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { isAlive } from "./is-alive.ts";

it.each([
  ["answers", true, (socket: Socket): void => void socket.end("HTTP/1.1 503 Service Unavailable\r\n\r\n")],
  ["closes", false, (socket: Socket): void => void socket.destroy()],
  ["says nothing", false, undefined],
])("a control plane that %s: %s", async (_what, alive, answer) => {
  const clock = new VirtualClock();
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection") as Promise<[Socket]>;
  const found = isAlive(connect((server.address() as AddressInfo).port, "127.0.0.1"), 5_000, clock);
  const [socket] = await accepted;
  const gone = once(socket, "close");
  expect((await once(socket, "data")).toString()).toContain("GET /live HTTP/1.1\r\n");
  if (answer === undefined) await clock.advance(5_000);
  else answer(socket);
  expect(await found).toBe(alive);
  expect(clock.pending).toBe(0);
  await gone;
  server.close();
});
