import { randomBytes } from "node:crypto";
import type { CaissonApiError, PortConnection, Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { SandboxTarget } from "./sandbox-target.ts";

/** 7001 echoes, 7002 says all it has and reads nothing, 7003 counts what it is told and answers with the number. */
export const PORT_PROGRAM = `
const { createServer } = require("node:net");
const serve = (port, handler) => createServer({ allowHalfOpen: true }, (socket) => { socket.on("error", () => {}); handler(socket); }).listen(port, "127.0.0.1");
serve(7001, (socket) => socket.pipe(socket));
serve(7002, (socket) => { const piece = Buffer.alloc(1 << 20); const more = () => { while (socket.write(piece)); socket.once("drain", more); }; more(); });
serve(7003, (socket) => { let count = 0; socket.on("data", (chunk) => (count += chunk.length)); socket.on("end", () => socket.end(String(count))); });
`;

async function readAll(connection: PortConnection): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const bytes of connection.readable) chunks.push(bytes);
  return Buffer.concat(chunks);
}

/** Ports of a sandbox: listed, published, linked, connected to. */
export function ports(target: () => SandboxTarget): void {
  let sandbox: Sandbox;
  beforeAll(async () => {
    sandbox = await target().create();
    await sandbox.commands.spawn(["node", "-e", PORT_PROGRAM]);
    await vi.waitUntil(async () => (await sandbox.ports.list()).length === 3, { timeout: 120_000, interval: 100 });
  });
  afterAll(() => sandbox.destroy());

  describe("sandbox.ports", () => {
    it("publishes, links and lists", async () => {
      expect(await sandbox.ports.list()).toMatchObject([7001, 7002, 7003].map((port) => ({ port, listening: true, public: false })));
      const url = await sandbox.ports.url(7001);
      expect(await sandbox.ports.publish(7001)).toEqual({ port: 7001, published: true, public: true, url });
      await sandbox.ports.unpublish(7001);
      const link = await sandbox.ports.token(7001, { ttl: "5m" });
      expect(link.url).toBe(`${url}?caisson_token=${link.token}`);
    });

    it("connects: bytes both ways, each side's end by itself", async () => {
      using connection = await sandbox.ports.connect(7001);
      const bytes = randomBytes(3_000_000);
      const writer = connection.writable.getWriter();
      const written = writer.write(bytes).then(() => writer.close());
      expect((await readAll(connection)).equals(bytes)).toBe(true);
      await written;
      using counted = await sandbox.ports.connect(7003);
      await new Blob([bytes]).stream().pipeTo(counted.writable);
      expect(String(await readAll(counted))).toBe("3000000");
    });

    it("takes no more from a server than is read, and sends no more than it takes", async () => {
      using connection = await sandbox.ports.connect(7002, { window: 65_536 });
      const writer = connection.writable.getWriter();
      let sent = 0;
      let waits = false;
      // It reads nothing: the buffers of its kernel fill, then the writer waits.
      const writing = (async () => {
        for (;;) {
          await writer.write(new Uint8Array(65_536));
          sent += 65_536;
        }
      })();
      writing.catch(() => undefined);
      let before = -1;
      await vi.waitUntil(() => ((waits = sent === before), (before = sent), waits), { timeout: 60_000, interval: 300 });
      expect(sent).toBeLessThan(50_000_000);
      const reader = connection.readable.getReader();
      for (let received = 0; received < 5_000_000;) received += (await reader.read()).value?.length ?? 0;
      connection.close();
      await expect(writing).rejects.toMatchObject({ code: "server_unreachable" });
    });

    it("says why there is no connection, and ends with the signal", async () => {
      const code = (promise: Promise<unknown>): Promise<unknown> =>
        promise.then(
          () => "none",
          (error: CaissonApiError) => error.code,
        );
      expect(await code(sandbox.ports.connect(9))).toBe("connection_refused");
      const stop = new AbortController();
      using connection = await sandbox.ports.connect(7001, { signal: stop.signal });
      const read = readAll(connection);
      stop.abort(new Error("enough"));
      await expect(read).rejects.toThrow("enough");
    });
  });
}
