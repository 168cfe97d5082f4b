import type { Process, Sandbox } from "@caisson/contract";
import { ask } from "@caisson/testkit";
import { expect, vi } from "vitest";
import type { ApiAccess } from "./api-access.ts";

/** Events that never end at /events, an echo of raw bytes behind every upgrade, else what was asked. */
const PROGRAM = `
const server = require("node:http").createServer((message, response) => {
  if (message.url === "/events") response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\\n\\n");
  else response.end(message.url);
});
server.on("upgrade", (message, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n");
  socket.pipe(socket);
});
server.listen(8000, "127.0.0.1");
`;

/** Port 8000 of a sandbox, as previews show it. */
export interface ShownPort {
  readonly host: string;
  /** Asks at that host, with the API key. */
  readonly get: (path: string) => ReturnType<typeof ask>;
}

/** Starts a server on port 8000 of a sandbox and waits until its preview answers. */
export async function showPort(api: ApiAccess, sandbox: Sandbox): Promise<ShownPort> {
  const host = `8000-${sandbox.id}.localhost`;
  const get = (path: string): ReturnType<typeof ask> => ask(api.url, path, { host, headers: { "x-api-key": api.apiKey } });
  await api.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, { command: "node", args: ["-e", PROGRAM], background: true });
  await vi.waitFor(async () => expect((await get("/")).status).toBe(200), { timeout: 120_000, interval: 100 });
  return { host, get };
}
