import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { fileInfoSchema, fileListSchema, writtenFileSchema } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { problemSchema } from "../http/problem-schema.ts";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let base: string;
beforeAll(async () => {
  server = await startTestServer();
  base = `/sandboxes/${(await server.operations.create({})).id}/files`;
});
afterAll(() => server[Symbol.asyncDispose]());

const at = (path: string) => `${base}?path=${encodeURIComponent(path)}`;
const code = async (response: Response) => problemSchema.parse(await response.json()).code;

describe("files", () => {
  it("are written as JSON, text and binary, with a mode", async () => {
    const text = await server.call("POST", base, { json: { path: "/d/a.txt", content: "grüße", mode: "0640" } });
    expect([text.status, writtenFileSchema.parse(await text.json())]).toMatchObject([
      200,
      { path: "/d/a.txt", size: 7, mode: "0640", type: "file" },
    ]);
    await server.call("POST", base, { json: { path: "/d/b.bin", content_base64: "AP8=" } });
    expect([...(await readFile(join(server.root, "d/b.bin")))]).toEqual([0, 255]);
    for (const json of [
      { path: "/x" },
      { path: "/x", content: "a", content_base64: "YQ==" },
      { path: "x", content: "" },
      { path: "/x", content: "", mode: "rw" },
    ])
      expect(await code(await server.call("POST", base, { json }))).toBe("invalid_request");
    expect(await code(await server.call("POST", base, { json: { path: "/x", content: "ü".repeat(5_000_000) } }))).toBe("payload_too_large");
  });

  it("go up and down raw, byte by byte, far beyond any body limit", async () => {
    const bytes = randomBytes(40_000_000);
    const hash = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");
    const up = await server.call("PUT", `${at("/big.bin")}&mode=600`, { body: bytes });
    expect([up.status, writtenFileSchema.parse(await up.json())]).toMatchObject([200, { size: bytes.length, mode: "0600" }]);
    const down = await server.call("GET", at("/big.bin"));
    expect(Object.fromEntries(down.headers)).toMatchObject({
      "content-length": String(bytes.length),
      "content-type": "application/octet-stream",
      "x-file-mode": "0600",
    });
    expect(hash(new Uint8Array(await down.arrayBuffer()))).toBe(hash(bytes));
    const part = await server.call("GET", `${at("/big.bin")}&offset=1000&length=500`);
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1000, 1500))).toBe(true);
    const past = await server.call("GET", `${at("/big.bin")}&offset=50000000`);
    expect([past.headers.get("content-length"), await past.text()]).toEqual(["0", ""]);
    await server.call("PUT", `${at("/big.bin")}&offset=3`, { body: "patch" });
    expect(
      (await readFile(join(server.root, "big.bin")))
        .subarray(0, 9)
        .equals(Buffer.concat([bytes.subarray(0, 3), Buffer.from("patch"), bytes.subarray(8, 9)])),
    ).toBe(true);
  });

  it("may be empty, and any content type goes", async () => {
    const up = await server.call("PUT", at("/empty"), { headers: { "content-type": "application/json" } });
    expect([up.status, await up.json()]).toMatchObject([200, { size: 0 }]);
    const down = await server.call("GET", at("/empty"));
    expect([down.status, await down.text()]).toEqual([200, ""]);
    expect((await server.call("PUT", at("/j"), { body: "{", headers: { "content-type": "application/json" } })).status).toBe(200);
    expect(await readFile(join(server.root, "j"), "utf8")).toBe("{");
  });

  it("appear whole or not at all when the client goes away", async () => {
    const request = httpRequest(`${server.url}/api/v1${at("/half.bin")}`, {
      method: "PUT",
      headers: { "x-api-key": API_KEY, "content-length": 1_000_000 },
    });
    request.on("error", () => undefined);
    request.write(randomBytes(300_000));
    await expect.poll(() => server.operations.running).toBe(1);
    request.destroy();
    await expect.poll(() => server.operations.running).toBe(0);
    expect((await readdir(server.root)).filter((name) => name.startsWith("half"))).toEqual([]);
  });

  it("answers an upload that fails while the client still sends, and the connection goes on or ends cleanly", async () => {
    const request = httpRequest(`${server.url}/api/v1${at("/big.bin/not-a-folder")}`, {
      method: "PUT",
      headers: { "x-api-key": API_KEY, "content-length": 3_000_000 },
    });
    request.on("error", () => undefined);
    request.end(randomBytes(3_000_000));
    const [response] = (await once(request, "response")) as [{ statusCode: number; resume(): void }];
    response.resume();
    expect(response.statusCode).toBeGreaterThanOrEqual(400);
  });

  it("are listed, found, and told about", async () => {
    await mkdir(join(server.root, "tree/sub"), { recursive: true });
    for (const name of ["a.py", "b.py", "sub/c.py", "sub/d.txt"]) await writeFile(join(server.root, "tree", name), name);
    await symlink("a.py", join(server.root, "tree/link"));
    const list = async (path: string) => fileListSchema.parse(await (await server.call("GET", `${base}${path}`)).json());
    expect((await list("/list?path=/tree")).items.map((item) => item.name)).toEqual(["a.py", "b.py", "link", "sub"]);
    expect((await list("/list?path=/tree&depth=2")).items.map((item) => item.path)).toContain("/tree/sub/c.py");
    expect((await list("/glob?pattern=**/*.py&cwd=/tree")).items.map((item) => item.path)).toEqual([
      "/tree/a.py",
      "/tree/b.py",
      "/tree/sub/c.py",
    ]);
    expect(await list("/glob?pattern=**/*.py&cwd=/tree&limit=2")).toMatchObject({ truncated: true, items: [{}, {}] });
    const stat = async (path: string) => fileInfoSchema.parse(await (await server.call("GET", `${base}/stat?path=${path}`)).json());
    expect(await stat("/tree/link")).toMatchObject({ type: "symlink", target: "a.py" });
    expect(await stat("/tree/link&follow=true")).toMatchObject({ type: "file", size: 4 });
    expect(await stat("/tree")).toMatchObject({ is_dir: true });
  });

  it("listings are bounded", async () => {
    await using small = await startTestServer({ limits: { listEntries: 3 } });
    const folder = `/sandboxes/${(await small.operations.create({})).id}/files`;
    for (let i = 0; i < 5; i += 1) await writeFile(join(small.root, `f${i}`), "");
    for (const path of ["/list", "/glob?pattern=*"]) {
      const found = fileListSchema.parse(await (await small.call("GET", folder + path)).json());
      expect([found.items.length, found.truncated]).toEqual([3, true]);
    }
  });

  it("are moved, re-moded, re-owned, made and deleted", async () => {
    await writeFile(join(server.root, "from"), "x");
    expect((await server.call("POST", `${base}/move`, { json: { old_path: "/from", new_path: "/to" } })).status).toBe(204);
    expect(
      await code(await server.call("POST", `${base}/move`, { json: { old_path: "/to", new_path: "/big.bin", overwrite: false } })),
    ).toBe("already_exists");
    expect((await server.call("POST", `${base}/chmod`, { json: { path: "/to", mode: "755" } })).status).toBe(204);
    expect((await server.call("POST", `${base}/chown`, { json: { path: "/to", owner: `${process.getuid?.() ?? 0}` } })).status).toBe(204);
    expect(await code(await server.call("POST", `${base}/chown`, { json: { path: "/to", owner: "nobody-knows" } }))).toBe("no_such_user");
    const made = await server.call("POST", `${base}/mkdir`, { json: { path: "/new/deep" } });
    expect([made.status, fileInfoSchema.parse(await made.json()).type]).toEqual([201, "directory"]);
    expect((await server.call("POST", `${base}/mkdir`, { json: { path: "/new/deep" } })).status).toBe(200);
    expect((await server.call("DELETE", at("/to"))).status).toBe(204);
    expect(await code(await server.call("DELETE", at("/to")))).toBe("file_not_found");
    expect((await server.call("DELETE", `${at("/new")}&recursive=true`)).status).toBe(204);
  });

  it.each([
    ["GET", "?path=relative", "path"],
    ["GET", "?path=/a%00b", "path"],
    ["GET", "", "path"],
    ["GET", "?path=/a&path=/b", "path"],
    ["PUT", "?path=/a&append=true", "append"],
    ["DELETE", "?path=/a&recursive=yes", "recursive"],
    ["GET", "/list?depth=-1", "depth"],
    ["GET", "/glob?pattern=*&limit=1e9", "limit"],
  ])("refuses %s %s", async (method, path, field) => {
    const problem = problemSchema.parse(await (await server.call(method, base + path)).json());
    expect([problem.code, problem.errors?.[0]?.path]).toEqual(["invalid_request", field]);
  });

  it("answers 404 for what is not there, before any byte", async () => {
    const response = await server.call("GET", at("/nothing"));
    expect([response.status, await code(response)]).toEqual([404, "file_not_found"]);
    expect(await code(await server.call("GET", at("/tree")))).toBe("is_a_directory");
  });

  it("breaks the connection when a file turns out shorter than promised", async () => {
    const guestFile = join(server.root, "shrinking");
    await writeFile(guestFile, "full length");
    const { withGuest } = server.operations;
    server.operations.withGuest = (id, name, use, options) =>
      withGuest(
        id,
        name,
        (guest, sandbox) =>
          use({ ...guest, readFile: async (path, how) => ({ ...(await guest.readFile(path, { ...how, length: 4 })) }) }, sandbox),
        options,
      );
    const response = await server.call("GET", at("/shrinking"));
    expect(response.headers.get("content-length")).toBe("11");
    await expect(response.text()).rejects.toThrow("terminated");
    server.operations.withGuest = withGuest;
  });
});
