import { once } from "node:events";
import { EXEC_PROTOCOL, type ExecSign, type Sandbox } from "@caisson/contract";
import { WebSocket } from "ws";
import type { TestServer } from "../tests/harness/server.ts";
import { quantile, report, series, timed } from "./measure.ts";

/** A key in a terminal of a sandbox to its echo, over the WebSocket that the SDK and the CLI use. */
export async function measureEcho(server: TestServer, rounds: number): Promise<void> {
  const { id } = await server.json<Sandbox>("POST", "/sandboxes", {});
  const url = `${server.url.replace("http", "ws")}/api/v1/sandboxes/${id}/exec/ws`;
  const socket = new WebSocket(url, EXEC_PROTOCOL, { headers: { "x-api-key": server.apiKey } });
  await once(socket, "open");
  let seen: (() => void) | undefined;
  const started = Promise.withResolvers<void>();
  socket.on("message", (data: Buffer, binary) => {
    if (binary) seen?.();
    else if ((JSON.parse(data.toString()) as ExecSign).type === "started") started.resolve();
  });
  const echo = series("Caisson: one key to its echo");
  // The terminal echoes by itself, cat only by lines: each key comes back once.
  socket.send(JSON.stringify({ type: "start", command: "cat", pty: { cols: 80, rows: 24 } }));
  await started.promise;
  const key = async (): Promise<void> => {
    const back = new Promise<void>((resolve) => (seen = resolve));
    socket.send(Buffer.from("x"));
    await back;
  };
  for (let round = 0; round < 100; round += 1) await key();
  for (let round = 0; round < rounds; round += 1) await timed(echo, key);
  report("Terminal echo over WebSocket", echo, []);
  console.log(`  goal: p99 at most 10 ms; it is ${quantile(echo.times, 0.99).toFixed(2)} ms`);
  socket.close();
  await once(socket, "close");
  await server.json("DELETE", `/sandboxes/${id}`);
}
