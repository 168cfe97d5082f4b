import { mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { Readable } from "node:stream";
import { unpackedSchema } from "@caisson/contract";
import { extract, pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasAgent, startAgentServer, type AgentServer } from "../testing/agent-guest.ts";
import { API_KEY } from "../testing/test-server.ts";

/** Names and contents of an archive. */
async function entriesOf(bytes: Uint8Array): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const reader = extract();
  Readable.from([bytes]).pipe(reader as unknown as NodeJS.WritableStream);
  for await (const entry of reader) {
    const pieces: Uint8Array[] = [];
    for await (const piece of entry as unknown as AsyncIterable<Uint8Array>) pieces.push(piece);
    const { name, type, linkname } = entry.header;
    found[name.replace(/\/$/, "")] = type === "file" ? Buffer.concat(pieces).toString() : `${type ?? ""} ${linkname ?? ""}`.trim();
  }
  return found;
}

async function tar(files: Readonly<Record<string, string>>): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of Object.entries(files)) archive.entry({ name }, content);
  archive.finalize();
  const pieces: Uint8Array[] = [];
  for await (const piece of archive as unknown as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces);
}

describe.skipIf(!hasAgent)("archives over a real agent", () => {
  let agent: AgentServer;
  beforeAll(async () => void (agent = await startAgentServer()));
  afterAll(() => agent[Symbol.asyncDispose]());
  const at = (path: string) => join(agent.folder, path);
  const url = (path: string, more = "") => `${agent.sandbox}/files/archive?path=${encodeURIComponent(at(path))}${more}`;
  const call = (method: string, path: string, body?: Uint8Array | string, headers = {}) =>
    agent.server.call(method, path, { headers, ...(body === undefined ? {} : { body }) });
  const code = async (response: Response) => ((await response.json()) as { code: string }).code;

  it("hold what is in a folder, without what was excluded", async () => {
    await mkdir(at("tree/node_modules/x"), { recursive: true });
    await mkdir(at("tree/empty"));
    await writeFile(at("tree/a.txt"), "a");
    await writeFile(at("tree/b.log"), "b");
    await writeFile(at("tree/node_modules/x/c"), "c");
    await symlink("a.txt", at("tree/link"));
    const response = await call("GET", url("tree"));
    expect(response.headers.get("content-type")).toBe("application/x-tar");
    const all = await entriesOf(new Uint8Array(await response.arrayBuffer()));
    expect(all).toMatchObject({ "a.txt": "a", "b.log": "b", empty: "directory", link: "symlink a.txt", "node_modules/x/c": "c" });
    const some = await call("GET", url("tree", "&exclude=node_modules&exclude=*.log"));
    const names = Object.keys(await entriesOf(new Uint8Array(await some.arrayBuffer())));
    expect(names.filter((name) => name !== "" && name !== ".").toSorted()).toEqual(["a.txt", "empty", "link"]);
    expect(await code(await call("GET", url("missing")))).toBe("file_not_found");
  });

  it("are unpacked whole, and into what is there file by file", async () => {
    const made = await call("PUT", url("made/here"), await tar({ "x/one": "1", two: "2" }));
    expect(unpackedSchema.parse(await made.json())).toMatchObject({ bytes: 2 });
    expect(await readFile(at("made/here/x/one"), "utf8")).toBe("1");
    await call("PUT", url("made/here"), await tar({ two: "zwei", three: "3" }));
    expect((await readdir(at("made/here"))).toSorted()).toEqual(["three", "two", "x"]);
    expect(await readFile(at("made/here/two"), "utf8")).toBe("zwei");
  });

  it("that go up and come down are the same", async () => {
    const archive = new Uint8Array(await (await call("GET", url("tree"))).arrayBuffer());
    expect((await call("PUT", url("copy"), archive)).status).toBe(200);
    expect(await readlink(at("copy/link"))).toBe("a.txt");
    expect((await stat(at("copy/empty"))).isDirectory()).toBe(true);
    const again = new Uint8Array(await (await call("GET", url("copy"))).arrayBuffer());
    expect(await entriesOf(again)).toEqual(await entriesOf(archive));
  });

  it("that break off, or are none, leave nothing", async () => {
    const whole = await tar(Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, "x".repeat(10_000)])));
    const before = (await readdir(agent.folder)).toSorted();
    expect((await call("PUT", url("broken"), "this is no archive".repeat(100))).status).toBe(400);
    expect((await call("PUT", url("broken"), whole.subarray(0, 30_000))).status).toBe(400);
    const request = httpRequest(`${agent.server.url}/api/v1${url("broken")}`, {
      method: "PUT",
      headers: { "x-api-key": API_KEY, "content-length": whole.length },
    });
    request.on("error", () => undefined);
    request.write(whole.subarray(0, 200_000));
    await expect.poll(async () => (await readdir(agent.folder)).length).toBeGreaterThan(before.length);
    expect(await readdir(agent.folder)).not.toContain("broken");
    request.destroy();
    await expect.poll(async () => (await readdir(agent.folder)).toSorted()).toEqual(before);
  });

  it("do not lead out of their folder", async () => {
    for (const name of ["../out", "/tmp/caisson-out", "a/../../out"])
      expect((await call("PUT", url("jail"), await tar({ [name]: "evil" }))).status).toBeGreaterThanOrEqual(400);
    expect(await readdir(agent.folder)).not.toContain("out");
    expect(await readdir("/tmp")).not.toContain("caisson-out");
  });

  it("are refused compressed, with a word on why", async () => {
    const response = await call("PUT", url("gz"), await tar({ a: "a" }), { "content-encoding": "gzip" });
    expect([response.status, await code(response)]).toEqual([400, "invalid_request"]);
  });
});
