import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Caisson, Sandbox } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

const MIB = 1_048_576;
/** `npm run test:long`: 2 GiB. */
const SIZE = (process.env.LONG_TESTS === undefined ? 128 : 2048) * MIB;
/** Enough for the server's collector to find its pace, in bytes. */
const WARM = 256 * MIB;
/** How much more memory the server may take for a file of any size after that, in bytes: what its collector leaves lying. */
const GROWTH = 96 * MIB;

/** Bytes that depend on their place, and their digest once all were taken. */
function generate(size: number): { readonly content: AsyncIterable<Uint8Array>; readonly sha256: () => string } {
  const hash = createHash("sha256");
  const content = (async function* () {
    for (let at = 0; at < size; at += MIB) {
      const block = Buffer.alloc(Math.min(MIB, size - at), `${at} `);
      hash.update(block);
      yield block;
    }
  })();
  return { content, sha256: () => hash.digest("hex") };
}

describe(`a file of ${SIZE / MIB} MiB`, () => {
  let server: TestServer;
  let sandbox: Sandbox;
  beforeAll(async () => {
    server = await TestServer.start();
    sandbox = await Sandbox.create({}, { client: new Caisson({ url: server.url, apiKey: server.apiKey, timeoutMs: 0 }) });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  /** The most memory that the server ever had, in bytes. */
  const peak = async (): Promise<number> =>
    Number(/^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${server.pid}/status`, "utf8"))?.[1]) * 1024;

  async function upAndDown(size: number): Promise<void> {
    for (const way of ["write", "upload"] as const) {
      const path = `/home/user/${way}.bin`;
      const { content, sha256 } = generate(size);
      const written = await sandbox.files[way](path, content);
      const digest = sha256();
      expect(written).toMatchObject({ size, sha256: digest });
      const hash = createHash("sha256");
      for await (const bytes of await sandbox.files.readStream(path, { verify: true })) hash.update(bytes);
      expect(hash.digest("hex")).toBe(digest);
      await sandbox.files.remove(path);
    }
  }

  it("goes up and down unchanged, in as much memory as a smaller one", { timeout: 600_000 }, async () => {
    await upAndDown(WARM);
    const before = await peak();
    await upAndDown(SIZE);
    expect((await peak()) - before).toBeLessThan(GROWTH);
  });

  it("goes up as a tree in as much memory as a smaller one", { timeout: 600_000 }, async () => {
    const { content } = generate(SIZE);
    await sandbox.files.write("/home/user/tree/large.bin", content);
    const before = await peak();
    const unpacked = await sandbox.files.extract("/home/user/copy", await sandbox.files.archive("/home/user/tree"));
    expect(unpacked.bytes).toBe(SIZE);
    const [a, b] = await Promise.all(["tree", "copy"].map((name) => sandbox.files.digest(`/home/user/${name}/large.bin`)));
    expect(a?.sha256).toBe(b?.sha256);
    expect((await peak()) - before).toBeLessThan(GROWTH);
  });
});
