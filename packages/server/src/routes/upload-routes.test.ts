import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { uploadListSchema, uploadSchema, writtenFileSchema, xattrsSchema, type Upload } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startAgentServer, hasAgent, type AgentServer } from "../testing/agent-guest.ts";
import { API_KEY } from "../testing/test-server.ts";

const BYTES = "application/offset+octet-stream";
const sha256 = (data: Uint8Array | string): string => createHash("sha256").update(data).digest("hex");

describe.skipIf(!hasAgent)("over a real agent", () => {
  let agent: AgentServer;
  beforeAll(async () => void (agent = await startAgentServer()));
  afterAll(() => agent[Symbol.asyncDispose]());

  const at = (path: string) => join(agent.folder, path);
  const query = (path: string) => `?path=${encodeURIComponent(at(path))}`;
  const call = (method: string, path: string, options: Parameters<AgentServer["server"]["call"]>[2] = {}) =>
    agent.server.call(method, `${agent.sandbox}${path}`, options);
  const problem = async (response: Promise<Response>) => ((await (await response).json()) as { code: string }).code;
  const open = async (json: object): Promise<Upload> => uploadSchema.parse(await (await call("POST", "/uploads", { json })).json());
  const send = (id: number, offset: number, body: Uint8Array | string) =>
    call("PATCH", `/uploads/${id}`, { body, headers: { "content-type": BYTES, "upload-offset": String(offset) } });
  const visible = async () => (await readdir(agent.folder)).filter((name) => !name.startsWith("."));

  describe("resumable uploads", () => {
    it("go up in pieces, over a broken connection to the agent, and appear whole", async () => {
      const bytes = randomBytes(3_000_000);
      const opened = await call("POST", "/uploads", { json: { path: at("pieces.bin"), size: bytes.length, mode: "0640" } });
      const upload = uploadSchema.parse(await opened.json());
      expect([opened.status, opened.headers.get("location")]).toEqual([201, `/api/v1${agent.sandbox}/uploads/${upload.upload_id}`]);
      expect(upload).toMatchObject({ offset: 0, size: bytes.length, path: at("pieces.bin") });
      expect(Date.parse(upload.expires_at)).toBeGreaterThan(Date.now());

      const first = await send(upload.upload_id, 0, bytes.subarray(0, 1_000_000));
      expect([first.status, first.headers.get("upload-offset")]).toEqual([204, "1000000"]);
      agent.breakLink();
      const head = await call("HEAD", `/uploads/${upload.upload_id}`);
      expect([head.headers.get("upload-offset"), head.headers.get("upload-length")]).toEqual(["1000000", "3000000"]);
      expect((await send(upload.upload_id, 1_000_000, bytes.subarray(1_000_000))).headers.get("upload-offset")).toBe("3000000");
      expect(await visible()).not.toContain("pieces.bin");

      const committed = await call("POST", `/uploads/${upload.upload_id}/commit`, { json: { sha256: sha256(bytes) } });
      expect(writtenFileSchema.parse(await committed.json())).toMatchObject({ size: bytes.length, mode: "0640", sha256: sha256(bytes) });
      expect((await readFile(at("pieces.bin"))).equals(bytes)).toBe(true);
      expect(await problem(call("GET", `/uploads/${upload.upload_id}`))).toBe("upload_not_found");
    });

    it("keep what came before the client broke off, and say how much", async () => {
      const { upload_id } = await open({ path: at("broken.bin") });
      const bytes = randomBytes(600_000);
      const request = httpRequest(`${agent.server.url}/api/v1${agent.sandbox}/uploads/${upload_id}`, {
        method: "PATCH",
        headers: { "x-api-key": API_KEY, "content-type": BYTES, "upload-offset": 0, "content-length": bytes.length },
      });
      request.on("error", () => undefined);
      request.write(bytes.subarray(0, 500_000));
      const standing = async () => uploadSchema.parse(await (await call("GET", `/uploads/${upload_id}`)).json()).offset;
      await expect.poll(standing).toBeGreaterThan(0);
      request.destroy();
      await expect.poll(() => agent.server.operations.running).toBe(0);
      // What had come to the agent is still written while it is asked, and moves the offset.
      const goOn = async () => {
        const offset = await standing();
        expect(offset).toBeLessThanOrEqual(500_000);
        return (await send(upload_id, offset, bytes.subarray(offset))).status;
      };
      await expect.poll(goOn).toBe(204);
      expect((await call("POST", `/uploads/${upload_id}/commit`, { json: { sha256: sha256(bytes) } })).status).toBe(200);
    });

    it("refuse another offset than theirs, and name the right one", async () => {
      const { upload_id } = await open({ path: at("offset.bin") });
      await send(upload_id, 0, "12345");
      for (const offset of [0, 3, 9]) {
        const response = await send(upload_id, offset, "x");
        expect([response.status, response.headers.get("upload-offset")]).toEqual([409, "5"]);
        expect(await response.json()).toMatchObject({ code: "conflict", detail: { offset: 5 } });
      }
      const wrong = { "content-type": "application/octet-stream", "upload-offset": "5" };
      expect(await problem(call("PATCH", `/uploads/${upload_id}`, { body: "x", headers: wrong }))).toBe("invalid_request");
      for (const offset of ["", "-1", "1e3", "x"]) {
        const headers = { "content-type": BYTES, "upload-offset": offset };
        expect(await problem(call("PATCH", `/uploads/${upload_id}`, { body: "x", headers }))).toBe("invalid_request");
      }
      await call("DELETE", `/uploads/${upload_id}`);
    });

    it("are not put in place short, or with another digest, and stay", async () => {
      const { upload_id } = await open({ path: at("checked.bin"), size: 4 });
      await send(upload_id, 0, "ab");
      expect(await problem(call("POST", `/uploads/${upload_id}/commit`, { json: {} }))).toBe("conflict");
      await send(upload_id, 2, "cd");
      const commit = (json: object) => call("POST", `/uploads/${upload_id}/commit`, { json });
      expect(await problem(commit({ sha256: sha256("other") }))).toBe("digest_mismatch");
      expect(await visible()).not.toContain("checked.bin");
      expect((await commit({ sha256: sha256("abcd") })).status).toBe(200);
      expect(await readFile(at("checked.bin"), "utf8")).toBe("abcd");
    });

    it("are listed, and dropped without a trace", async () => {
      const before = await visible();
      const { upload_id } = await open({ path: at("dropped.bin") });
      await send(upload_id, 0, "bytes");
      const { items } = uploadListSchema.parse(await (await call("GET", "/uploads")).json());
      expect(items).toMatchObject([{ upload_id, path: at("dropped.bin"), offset: 5, size: null }]);
      expect((await call("DELETE", `/uploads/${upload_id}`)).status).toBe(204);
      expect(await problem(call("DELETE", `/uploads/${upload_id}`))).toBe("upload_not_found");
      expect(await readdir(agent.folder)).toEqual(expect.arrayContaining(before));
      expect(await visible()).toEqual(before);
      expect(await problem(call("GET", "/uploads/0"))).toBe("upload_not_found");
      expect(await problem(call("GET", "/uploads/x"))).toBe("upload_not_found");
    });
  });

  describe("digests", () => {
    it("are those of the version that is sent, whole and in parts", async () => {
      const bytes = randomBytes(2_000_000);
      await writeFile(at("digest.bin"), bytes);
      const headers = { "want-repr-digest": "sha-512=3, sha-256=10" };
      const expected = `sha-256=:${Buffer.from(sha256(bytes), "hex").toString("base64")}:`;
      for (const [method, more] of [
        ["GET", {}],
        ["HEAD", {}],
        ["GET", { range: "bytes=5-9" }],
      ] as const) {
        const response = await call(method, `/files${query("digest.bin")}`, { headers: { ...headers, ...more } });
        expect(response.headers.get("repr-digest")).toBe(expected);
        await response.arrayBuffer();
      }
      const none = await call("HEAD", `/files${query("digest.bin")}`, { headers: { "want-repr-digest": "sha-256=0" } });
      expect(none.headers.get("repr-digest")).toBeNull();
    });

    it("belong to what is then read, also when the file changes between", async () => {
      await writeFile(at("race.txt"), "first");
      const { withGuest } = agent.server.operations;
      let digests = 0;
      agent.server.operations.withGuest = (id, name, use, options) =>
        withGuest(
          id,
          name,
          (guest, sandbox) => {
            const digest: typeof guest.digest = async (path, how) => {
              const found = await agent.guest.digest(path, how);
              digests += 1;
              if (digests === 1) await writeFile(at("race.txt"), "second version");
              return found;
            };
            return use(
              Object.assign(Object.create(guest) as typeof guest, {
                digest,
                readFile: guest.readFile.bind(guest),
                stat: guest.stat.bind(guest),
              }),
              sandbox,
            );
          },
          options,
        );
      const response = await call("GET", `/files${query("race.txt")}`, { headers: { "want-repr-digest": "sha-256" } });
      agent.server.operations.withGuest = withGuest;
      expect(await response.text()).toBe("second version");
      expect(response.headers.get("repr-digest")).toContain(Buffer.from(sha256("second version"), "hex").toString("base64"));
      expect(digests).toBe(2);
    });

    it("keep a wrong upload from replacing anything, temporary files included", async () => {
      await writeFile(at("kept.txt"), "kept");
      const before = (await readdir(agent.folder)).toSorted();
      const headers = { "repr-digest": `sha-256=:${Buffer.from(sha256("x"), "hex").toString("base64")}:` };
      const response = call("PUT", `/files${query("kept.txt")}`, { body: "not x", headers });
      expect(await problem(response)).toBe("digest_mismatch");
      expect(await readFile(at("kept.txt"), "utf8")).toBe("kept");
      await expect.poll(async () => (await readdir(agent.folder)).toSorted()).toEqual(before);
    });
  });

  describe("extended attributes", () => {
    it("are set, read and removed, with any bytes", async () => {
      await writeFile(at("attributes"), "");
      const value = Buffer.from([0, 255, 10]);
      const set = (name: string, bytes: Uint8Array) =>
        call("PUT", "/files/xattrs", { json: { path: at("attributes"), name, value_base64: Buffer.from(bytes).toString("base64") } });
      expect((await set("user.bytes", value)).status).toBe(204);
      expect((await set("user.empty", new Uint8Array())).status).toBe(204);
      const read = async () => xattrsSchema.parse(await (await call("GET", `/files/xattrs${query("attributes")}`)).json()).attributes;
      expect(await read()).toEqual({ "user.bytes": value.toString("base64"), "user.empty": "" });
      expect((await call("DELETE", `/files/xattrs${query("attributes")}&name=user.bytes`)).status).toBe(204);
      expect(await read()).toEqual({ "user.empty": "" });
      expect(await problem(set("noname", value))).toBe("invalid_request");
      expect(await problem(call("GET", `/files/xattrs${query("missing")}`))).toBe("file_not_found");
    });
  });

  it("a file of the kernel, whose size is told as 0, is read whole", async () => {
    const response = await call("GET", `/files?path=/proc/version`);
    expect(await response.text()).toMatch(/^Linux/);
    expect((await stat("/proc/version")).size).toBe(0);
  });
});
