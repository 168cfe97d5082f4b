import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { duplexPair, type Duplex } from "node:stream";
import { pooledBytes } from "@caisson/contract";
import { afterEach, expect, it } from "vitest";
import { freeChunk } from "./free-chunk.ts";
import { HEADER_BYTES, KIND } from "./frame.ts";
import { FrameWriter } from "./frame-writer.ts";

const LENGTH = 60_000;

const open: Duplex[] = [];
afterEach(() => {
  for (const stream of open.splice(0)) stream.destroy();
});

async function tcpPair(): Promise<[Socket, Socket]> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect(server.address() as { port: number });
  const [far] = (await once(server, "connection")) as [Socket];
  server.close();
  open.push(near, far);
  return [near, far];
}

/** Sends pooled bytes from one end and takes them at the other; returns what they were, and what came. */
async function send(near: Duplex, far: Duplex): Promise<{ readonly sent: Uint8Array; readonly came: Buffer }> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  const whole = new Promise<void>((resolve) => {
    far.on("data", (piece: Buffer) => {
      pieces.push(Buffer.from(piece));
      bytes += piece.length;
      if (bytes === LENGTH + HEADER_BYTES) resolve();
    });
  });
  const sent = pooledBytes(LENGTH).fill(7);
  const writer = new FrameWriter(near);
  writer.release();
  writer.data(KIND.data, 1, 0, sent, sent);
  await whole;
  return { sent, came: Buffer.concat(pieces).subarray(HEADER_BYTES) };
}

it("uses pooled bytes again once a socket has sent them", async () => {
  const { sent, came } = await send(...(await tcpPair()));
  expect(came.equals(Buffer.alloc(LENGTH, 7))).toBe(true);
  // The write is told of in a later turn than the bytes may arrive in.
  await expect.poll(() => pooledBytes(LENGTH).buffer === sent.buffer, { interval: 5 }).toBe(true);
});

it("leaves bytes alone that a stream within the process hands on", async () => {
  const [near, far] = duplexPair();
  open.push(near, far);
  const { sent } = await send(near, far);
  await new Promise((resolve) => setImmediate(resolve));
  expect(pooledBytes(LENGTH).buffer).not.toBe(sent.buffer);
});

it("frees a chunk that has its memory for itself, and no other", () => {
  const whole = new Uint8Array(LENGTH);
  freeChunk(whole);
  expect(whole.buffer.detached).toBe(true);
  const part = new Uint8Array(new ArrayBuffer(LENGTH), 1);
  const small = new Uint8Array(100);
  const pooled = Buffer.from("one of many in the same memory");
  for (const kept of [part, small, pooled]) {
    freeChunk(kept);
    expect((kept.buffer as ArrayBuffer).detached).toBe(false);
  }
});
