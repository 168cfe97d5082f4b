import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { fileInfoSchema, formUploadSchema, writtenFileSchema } from "@caisson/contract";
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
const on = (path: string) => join(server.root, path);
const code = async (response: Response) => problemSchema.parse(await response.json()).code;
const digest = (data: Uint8Array | string) => `sha-256=:${createHash("sha256").update(data).digest("base64")}:`;

describe("downloads", () => {
  it("have a strong ETag, which is the version, and a date", async () => {
    await writeFile(on("a.txt"), "0123456789");
    await utimes(on("a.txt"), 1_700_000_000, 1_700_000_000.5);
    const response = await server.call("GET", at("/a.txt"));
    const { version } = fileInfoSchema.parse(await (await server.call("GET", `${base}/stat?path=/a.txt`)).json());
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag: `"${version}"`,
      "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
      "accept-ranges": "bytes",
      "content-disposition": "attachment; filename*=UTF-8''a.txt",
    });
    // Of another length: clocks of file systems may stand still for 10 ms.
    await writeFile(on("a.txt"), "98765432100");
    expect((await server.call("HEAD", at("/a.txt"))).headers.get("etag")).not.toBe(response.headers.get("etag"));
  });

  it.each([
    ["bytes=2-5", 206, "2345", "bytes 2-5/10"],
    ["bytes=-3", 206, "789", "bytes 7-9/10"],
    ["bytes=8-100", 206, "89", "bytes 8-9/10"],
    ["bytes=0-0,2-3", 200, "0123456789", null],
    ["items=0-1", 200, "0123456789", null],
  ])("answer the range %s with %i", async (range, status, text, contentRange) => {
    await writeFile(on("r.txt"), "0123456789");
    const response = await server.call("GET", at("/r.txt"), { headers: { range } });
    expect([response.status, await response.text(), response.headers.get("content-range")]).toEqual([status, text, contentRange]);
    expect(response.headers.get("content-length")).toBe(String(text.length));
  });

  it("refuse a range outside the file, and one beside offset and length", async () => {
    await writeFile(on("r.txt"), "0123456789");
    const response = await server.call("GET", at("/r.txt"), { headers: { range: "bytes=10-" } });
    expect([response.status, response.headers.get("content-range"), await code(response)]).toEqual([
      416,
      "bytes */10",
      "range_not_satisfiable",
    ]);
    const both = await server.call("GET", `${at("/r.txt")}&offset=1`, { headers: { range: "bytes=1-" } });
    expect(await code(both)).toBe("invalid_request");
  });

  it("resume with If-Range only what is still the same", async () => {
    await writeFile(on("i.txt"), "0123456789");
    const etag = (await server.call("HEAD", at("/i.txt"))).headers.get("etag") ?? "";
    const headers = { range: "bytes=5-", "if-range": etag };
    expect(await (await server.call("GET", at("/i.txt"), { headers })).text()).toBe("56789");
    await writeFile(on("i.txt"), "abcdefghijk");
    const changed = await server.call("GET", at("/i.txt"), { headers });
    expect([changed.status, await changed.text()]).toEqual([200, "abcdefghijk"]);
  });

  it("are not sent again to who has them, and refused to who wants another version", async () => {
    await writeFile(on("c.txt"), "content");
    const first = await server.call("GET", at("/c.txt"));
    const etag = first.headers.get("etag") ?? "";
    for (const method of ["GET", "HEAD"]) {
      const same = await server.call(method, at("/c.txt"), { headers: { "if-none-match": etag } });
      expect([same.status, await same.text(), same.headers.get("etag")]).toEqual([304, "", etag]);
      const date = { "if-modified-since": first.headers.get("last-modified") ?? "" };
      expect((await server.call(method, at("/c.txt"), { headers: date })).status).toBe(304);
      const other = await server.call(method, at("/c.txt"), { headers: { "if-match": '"other"' } });
      expect(other.status).toBe(412);
    }
  });

  it("tell by HEAD what GET would answer, without a body", async () => {
    await writeFile(on("h.txt"), "12345");
    const head = await server.call("HEAD", at("/h.txt"));
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "5", ""]);
    expect((await server.call("HEAD", at("/missing"))).status).toBe(404);
    expect((await server.call("HEAD", at("/"))).status).toBe(400);
  });

  it("break off when the file changes while it is read, and say so when nothing was sent", async () => {
    await writeFile(on("change.bin"), "first");
    await writeFile(on("large.bin"), randomBytes(1_000_000));
    const { withGuest } = server.operations;
    let stats = 0;
    server.operations.withGuest = (id, name, use, options) =>
      withGuest(
        id,
        name,
        (guest, sandbox) => {
          const stat: typeof guest.stat = async (path, how) => {
            stats += 1;
            return { ...(await guest.stat(path, how)), version: `other-${stats}` };
          };
          return use({ ...guest, stat }, sandbox);
        },
        options,
      );
    try {
      const small = await server.call("GET", at("/change.bin"));
      expect([small.status, await code(small)]).toEqual([409, "conflict"]);
      const large = await server.call("GET", at("/large.bin"));
      expect(large.status).toBe(200);
      await expect(large.arrayBuffer()).rejects.toThrow("terminated");
      // A part is read as it is, as long as it does not pretend to be of a version.
      expect(await (await server.call("GET", `${at("/change.bin")}&offset=0`)).text()).toBe("first");
      expect(await code(await server.call("GET", at("/change.bin"), { headers: { range: "bytes=1-2" } }))).toBe("conflict");
    } finally {
      server.operations.withGuest = withGuest;
    }
  });

  it("name their file safely", async () => {
    const name = 'q"uo\r\nte (ü)*.txt';
    await writeFile(on(name), "x");
    const response = await server.call("GET", at(`/${name}`));
    expect(response.headers.get("content-disposition")).toBe("attachment; filename*=UTF-8''q%22uo__te%20%28%C3%BC%29%2A.txt");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
  });
});

describe("uploads", () => {
  it("answer with the digest, and are checked by the one announced", async () => {
    const bytes = randomBytes(300_000);
    for (const header of ["repr-digest", "content-digest"]) {
      const right = await server.call("PUT", at("/up.bin"), { body: bytes, headers: { [header]: digest(bytes) } });
      const written = writtenFileSchema.parse(await right.json());
      expect(written.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
      expect(right.headers.get("etag")).toBe(`"${written.version}"`);
      const wrong = await server.call("PUT", at("/up.bin"), { body: "other", headers: { [header]: digest("another") } });
      expect([wrong.status, await code(wrong)]).toEqual([422, "digest_mismatch"]);
      expect((await readFile(on("up.bin"))).equals(bytes)).toBe(true);
    }
    expect((await readdir(server.root)).filter((name) => name.startsWith("up.bin"))).toEqual(["up.bin"]);
  });

  it.each([
    [{ "repr-digest": "sha-512=:AAAA:" }],
    [{ "repr-digest": "sha-256=:AAAA:" }],
    [{ "repr-digest": digest("a"), "content-digest": digest("b") }],
  ])("refuse the digest headers %j", async (headers) => {
    expect(await code(await server.call("PUT", at("/d"), { body: "a", headers }))).toBe("invalid_request");
  });

  it("cannot be guarded in place", async () => {
    const headers = { "repr-digest": digest("a") };
    expect(await code(await server.call("PUT", `${at("/up.bin")}&offset=0`, { body: "a", headers }))).toBe("invalid_request");
  });

  it("keep their conditions, also at their end", async () => {
    const create = { "if-none-match": "*" };
    expect((await server.call("PUT", at("/once"), { body: "1", headers: create })).status).toBe(200);
    expect((await server.call("PUT", at("/once"), { body: "2", headers: create })).status).toBe(412);
    const { headers } = await server.call("HEAD", at("/once"));
    const ifMatch = { "if-match": headers.get("etag") ?? "" };
    expect((await server.call("PUT", at("/new/never"), { body: "x", headers: ifMatch })).status).toBe(412);

    // The file changes while the body is under way.
    const slow = httpRequest(`${server.url}/api/v1${at("/once")}`, { method: "PUT", headers: { ...ifMatch, "x-api-key": API_KEY } });
    const answer = new Promise<number | undefined>((resolve) => slow.once("response", (response) => resolve(response.resume().statusCode)));
    slow.write("half");
    await expect.poll(() => readdir(server.root)).toContain("once.tmp");
    await writeFile(on("once"), "other");
    slow.end();
    expect(await answer).toBe(412);
    expect(await readFile(on("once"), "utf8")).toBe("other");
  });
});

describe("forms", () => {
  const send = (form: FormData | string, query = "", headers: Record<string, string> = {}) =>
    fetch(`${server.url}/api/v1${base}/upload${query}`, { method: "POST", body: form, headers: { "x-api-key": API_KEY, ...headers } });

  it("carry several files, by a field path or by their names, byte for byte", async () => {
    const bytes = randomBytes(500_000);
    const form = new FormData();
    form.append("path", "/form/a.bin");
    form.append("file", new Blob([bytes]), "whatever.bin");
    form.append("/form/grüße.txt", new Blob(["text"]), "b.txt");
    form.append("/form/empty", new Blob([]), "c");
    const response = await send(form, "?mode=0600");
    const { items } = formUploadSchema.parse(await response.json());
    expect(items.map((item) => [item.path, item.size, item.mode])).toEqual([
      ["/form/a.bin", 500_000, "0600"],
      ["/form/grüße.txt", 4, "0600"],
      ["/form/empty", 0, "0600"],
    ]);
    expect(items[0]?.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect((await readFile(on("form/a.bin"))).equals(bytes)).toBe(true);
    expect(await readFile(on("form/grüße.txt"), "utf8")).toBe("text");
  });

  it("may hold many small files", async () => {
    const form = new FormData();
    for (let i = 0; i < 300; i += 1) form.append(`/many/${i}`, new Blob([`${i}`]), "f");
    expect(formUploadSchema.parse(await (await send(form)).json()).items).toHaveLength(300);
    expect(await readFile(on("many/299"), "utf8")).toBe("299");
  });

  it("are refused where they are none", async () => {
    const cases: [FormData | string, Record<string, string>][] = [
      ["x", { "content-type": "text/plain" }],
      ["x", { "content-type": "multipart/form-data" }],
    ];
    const relative = new FormData();
    relative.append("relative/path", new Blob(["x"]), "f");
    const unknown = new FormData();
    unknown.append("mode", "0600");
    const fileless = new FormData();
    fileless.append("path", "/x");
    const traversing = new FormData();
    traversing.append("path", "/a\0b");
    traversing.append("file", new Blob(["x"]), "f");
    for (const form of [relative, unknown, fileless, traversing]) cases.push([form, {}]);
    for (const [form, headers] of cases) expect(await code(await send(form, "", headers))).toBe("invalid_request");
  });

  it("leave out the file they break off in, and keep the one before", async () => {
    const part = (name: string) => `--b\r\nContent-Disposition: form-data; name="${name}"; filename="f"\r\n\r\n`;
    const whole = `${part("/cut/one")}first\r\n${part("/cut/two")}second`;
    // As if it ended there: the closing boundary is missing.
    const ended = await send(whole, "", { "content-type": "multipart/form-data; boundary=b" });
    expect(await code(ended)).toBe("invalid_request");
    expect(await readdir(on("cut"))).toEqual(["one"]);

    const request = httpRequest(`${server.url}/api/v1${base}/upload`, {
      method: "POST",
      headers: { "x-api-key": API_KEY, "content-type": "multipart/form-data; boundary=b", "content-length": 1_000_000 },
    });
    request.on("error", () => undefined);
    request.write(whole.replaceAll("/cut/", "/gone/") + "x".repeat(100_000));
    await expect.poll(() => readdir(on("gone")).catch(() => [])).toContain("two.tmp");
    request.destroy();
    await expect.poll(() => server.operations.running).toBe(0);
    expect(await readdir(on("gone"))).toEqual(["one"]);
  });
});
