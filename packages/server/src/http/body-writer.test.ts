import { once } from "node:events";
import { createServer, get, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { BodyWriter } from "./body-writer.ts";

const PIECE = new Uint8Array(65_536);

/** An answer under way, and the stream its client reads. */
async function answering<T>(use: (raw: ServerResponse, read: () => void) => Promise<T>): Promise<T> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const request = get({ host: "127.0.0.1", port: (server.address() as AddressInfo).port });
  const [, raw] = (await once(server, "request")) as [unknown, ServerResponse];
  raw.flushHeaders();
  const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
  try {
    return await use(raw, () => response.resume());
  } finally {
    request.destroy();
    server.close();
    server.closeAllConnections();
  }
}

it("has room again though nobody waited when the client took what there was", async () => {
  await answering(async (raw, read) => {
    using body = new BodyWriter(raw, new AbortController().signal);
    while (!body.full) body.write(PIECE);
    const drained = once(raw, "drain");
    read();
    await drained;
    expect(body.full).toBe(false);
    await body.room();
  });
});

it("waits for room, and no longer than it must", async () => {
  await answering(async (raw, read) => {
    const stop = new AbortController();
    using body = new BodyWriter(raw, stop.signal);
    while (!body.full) body.write(PIECE);
    const room = body.room();
    read();
    await room;
    while (!body.full) body.write(PIECE);
    const never = body.room();
    stop.abort(new Error("gone"));
    await expect(never).rejects.toThrow("gone");
  });
});
