import { readFile, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { signedUrlSchema, systemClock } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";

let server: TestServer;
let id: string;
let now = Date.now();
beforeAll(async () => {
  server = await startTestServer({ clock: { ...systemClock, now: () => now } });
  id = (await server.operations.create({})).id;
  await writeFile(join(server.root, "open.txt"), "open");
  await writeFile(join(server.root, "a b&c=d#é.txt"), "odd");
  await writeFile(join(server.root, "secret.txt"), "secret");
});
afterAll(() => server[Symbol.asyncDispose]());

const sign = (json: object, headers: Record<string, string> = {}, sandbox = id) =>
  server.call("POST", `/sandboxes/${sandbox}/files/sign`, { json, headers });
const signed = async (json: object) => signedUrlSchema.parse(await (await sign(json)).json());
const body = async (response: Response | Promise<Response>) => [(await response).status, await (await response).text()];
const refusal = async (response: Promise<Response>) => [
  (await response).status,
  ((await (await response).json()) as { code: string }).code,
];
const REFUSED = [401, "unauthorized"];

describe("a signed URL", () => {
  it("opens its file without a key, until its time", async () => {
    now = Date.now();
    const { url, expires_at } = await signed({ path: "/open.txt", action: "read", ttl: "1m" });
    expect(url.startsWith(`${server.url}/api/v1/sandboxes/${id}/files?path=%2Fopen.txt&token=`)).toBe(true);
    expect(Date.parse(expires_at) - now).toBeGreaterThan(58_000);
    expect(await body(fetch(url))).toEqual([200, "open"]);
    expect((await fetch(url, { method: "HEAD" })).headers.get("content-length")).toBe("4");
    expect(await body(fetch(url, { headers: { range: "bytes=1-2" } }))).toEqual([206, "pe"]);
    now += 60_001;
    expect(await refusal(fetch(url))).toEqual(REFUSED);
    now = Date.now();
  });

  it("takes any name, and writes where it was made to", async () => {
    const path = "/a b&c=d#é.txt";
    expect(await body(fetch((await signed({ path, action: "read" })).url))).toEqual([200, "odd"]);
    const { url } = await signed({ path: "/drop/in.txt", action: "write" });
    expect((await fetch(url, { method: "PUT", body: "dropped" })).status).toBe(200);
    expect(await readFile(join(server.root, "drop/in.txt"), "utf8")).toBe("dropped");
  });

  it("does nothing else", async () => {
    const read = (await signed({ path: "/open.txt", action: "read" })).url;
    const write = (await signed({ path: "/open.txt", action: "write" })).url;
    expect(await refusal(fetch(read, { method: "PUT", body: "x" }))).toEqual(REFUSED);
    expect(await refusal(fetch(write))).toEqual(REFUSED);
    expect((await fetch(write, { method: "HEAD" })).status).toBe(401);
    expect(await refusal(fetch(read, { method: "DELETE" }))).toEqual(REFUSED);
    for (const other of ["/list", "/stat", "/glob", "/archive", "/watch", "/xattrs"])
      expect((await fetch(read.replace("/files?", `/files${other}?`))).status).toBe(401);
    expect(await readFile(join(server.root, "open.txt"), "utf8")).toBe("open");
  });

  it.each([
    "/secret.txt",
    "/open.txt/../secret.txt",
    "/./open.txt",
    "//open.txt",
    "/open.txt/",
    "/OPEN.TXT",
    "/open.txt\0",
    "/open.txt ",
    "open.txt",
    "",
  ])("opens no other path: %j", async (path) => {
    const url = new URL((await signed({ path: "/open.txt", action: "read" })).url);
    url.searchParams.set("path", path);
    const response = await fetch(url);
    expect([400, 401]).toContain(response.status);
    expect(await response.text()).not.toMatch(/^(?:secret|open)$/);
  });

  it("takes nothing beside what was signed", async () => {
    const { url } = await signed({ path: "/open.txt", action: "read" });
    const write = (await signed({ path: "/drop/x", action: "write" })).url;
    for (const more of ["&offset=1", "&length=1", "&user=root"]) expect(await refusal(fetch(url + more))).toEqual(REFUSED);
    for (const more of ["&mode=4755", "&offset=0", "&user=root"])
      expect(await refusal(fetch(write + more, { method: "PUT", body: "x" }))).toEqual(REFUSED);
    for (const more of ["&path=%2Fsecret.txt", "&token=x", "&x=1", "&%70ath=%2Fsecret.txt"])
      expect((await fetch(url + more)).status).toBeGreaterThanOrEqual(400);
  });

  it("is bound to its sandbox, and to what the server signed", async () => {
    const other = (await server.operations.create({})).id;
    const { url } = await signed({ path: "/open.txt", action: "read" });
    expect(await refusal(fetch(url.replace(id, other)))).toEqual(REFUSED);
    const [start, token = ""] = url.split("token=");
    const [head = "", claims = "", mark = ""] = token.split(".");
    const forged = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url").toString()), path: "/secret.txt" }));
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    const flipped = `${mark.startsWith("A") ? "B" : "A"}${mark.slice(1)}`;
    for (const bad of [
      "",
      "x",
      `${head}.${claims}.${flipped}`,
      `${head}.${forged.toString("base64url")}.${mark}`,
      `${none}.${claims}.`,
      `${head}.${claims}`,
      API_KEY,
    ])
      expect((await fetch(`${start}token=${bad}`)).status).toBe(401);
    const secret = `${start?.replace("open.txt", "secret.txt")}token=${head}.${forged.toString("base64url")}.${mark}`;
    expect(await refusal(fetch(secret))).toEqual(REFUSED);
  });

  it("acts as the user it was signed for", async () => {
    const seen: (string | undefined)[] = [];
    const { withGuest } = server.operations;
    server.operations.withGuest = (sandbox, name, use, options) =>
      withGuest(
        sandbox,
        name,
        (guest, info) =>
          use(
            {
              ...guest,
              readFile: (path, how) => {
                seen.push(how?.user);
                return guest.readFile(path, how);
              },
            },
            info,
          ),
        options,
      );
    await body(fetch((await signed({ path: "/open.txt", action: "read", user: "root" })).url));
    await body(fetch((await signed({ path: "/open.txt", action: "read" })).url));
    server.operations.withGuest = withGuest;
    expect(seen).toEqual(["root", undefined]);
  });

  it("does not come together with a key", async () => {
    const { url } = await signed({ path: "/open.txt", action: "read" });
    expect((await fetch(url, { headers: { "x-api-key": "wrong-key-0123456789" } })).status).toBe(401);
    expect(await refusal(fetch(url, { headers: { "x-api-key": API_KEY } }))).toEqual([400, "invalid_request"]);
  });

  it("is not written to the log", async () => {
    const { url } = await signed({ path: "/open.txt", action: "read" });
    await body(fetch(url));
    expect(JSON.stringify(server.log)).not.toContain(url.split("token=")[1]);
  });
});

describe("signing", () => {
  it("needs a key, a sandbox, and a sensible time", async () => {
    expect((await fetch(`${server.url}/api/v1/sandboxes/${id}/files/sign`, { method: "POST" })).status).toBe(401);
    expect((await sign({ path: "/a", action: "read" }, {}, "sb0000000000000000000a1")).status).toBe(404);
    for (const wrong of [{ ttl: "169h" }, { ttl: "0" }, { ttl: "1ms" }, { action: "delete" }, { path: "a" }, { mode: "0644" }])
      expect((await sign({ path: "/a", action: "read", ...wrong })).status).toBe(400);
  });

  it.each([
    ["caisson.example:8080", "http://caisson.example:8080/"],
    ["[::1]:80", "http://[::1]:80/"],
    ["evil.example/x?", undefined],
    ["a b", undefined],
    ["user@evil.example", undefined],
    [`"><script>`, undefined],
  ])("makes the address from the host %s, when it is one, and from nothing else", async (host, start) => {
    const text = await new Promise<string>((resolve, reject) => {
      const forged = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", forwarded: "host=evil.example" };
      const headers = { host, "x-api-key": API_KEY, "content-type": "application/json", ...forged };
      const request = httpRequest(`${server.url}/api/v1/sandboxes/${id}/files/sign`, { method: "POST", headers }, (response) => {
        let got = "";
        response.on("data", (chunk: Buffer) => (got += chunk.toString()));
        response.on("end", () => resolve(got));
      });
      request.on("error", reject);
      request.end(JSON.stringify({ path: "/a", action: "read" }));
    });
    const { url } = JSON.parse(text) as { url: string };
    expect(url.startsWith(start ?? `${server.url}/`)).toBe(true);
  });
});
