import { createHash, randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { describe, expect, test } from "vitest";
import { Caisson } from "./index.ts";
import { uploadFile } from "./resumable-upload.ts";
import { HttpPeer, sendJson } from "./testing/http-peer.ts";

const MIB = 1_048_576;
const SANDBOX = "/sandboxes/sb1";
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** An upload as a server keeps it. A fault may take a request over: it then returns true. */
class UploadPeer {
  readonly #faults: ((request: IncomingMessage, response: ServerResponse, body: Buffer, peer: UploadPeer) => boolean)[] = [];
  content: Buffer = Buffer.alloc(0);
  committed: Buffer | undefined;
  open = false;

  /** The next request of this method goes to the fault. */
  fail(method: string, fault: (response: ServerResponse, body: Buffer) => void): void {
    this.#faults.push((request, response, body) => {
      if (request.method !== method) return false;
      fault(response, body);
      return true;
    });
  }

  answer = (request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    const fault = this.#faults.findIndex((one) => one(request, response, body, this));
    if (fault >= 0) return void this.#faults.splice(fault, 1);
    const upload = { upload_id: 7, path: "/f", offset: this.content.length, size: null, expires_at: "2030-01-01T00:00:00.000Z" };
    const { url = "", method } = request;
    if (url.endsWith("/uploads")) {
      this.open = true;
      return sendJson(response, 201, upload);
    }
    if (method === "HEAD") {
      const digest = createHash("sha256")
        .update(this.committed ?? "")
        .digest("base64");
      return void response.writeHead(200, { "repr-digest": `sha-256=:${digest}:` }).end();
    }
    if (url.includes("/files/stat")) return sendJson(response, 200, { path: "/f", size: this.committed?.length });
    if (!this.open) return sendJson(response, 404, { code: "upload_not_found", message: "Gone." });
    if (method === "GET") return sendJson(response, 200, upload);
    if (method === "PATCH") {
      if (Number(request.headers["upload-offset"]) !== this.content.length)
        return sendJson(response, 409, { code: "conflict", message: "Elsewhere.", detail: { offset: this.content.length } });
      this.content = Buffer.concat([this.content, body]);
      return void response.writeHead(204, { "upload-offset": this.content.length }).end();
    }
    this.open = false;
    if (method === "DELETE") return void response.writeHead(204).end();
    const { sha256: expected } = JSON.parse(body.toString()) as { sha256?: string };
    this.open = expected !== undefined && expected !== sha256(this.content);
    if (this.open) return sendJson(response, 422, { code: "digest_mismatch", message: "Another." });
    this.committed = this.content;
    return sendJson(response, 200, { path: "/f", size: this.content.length, sha256: sha256(this.content) });
  };
}

async function start(): Promise<{ peer: HttpPeer; uploads: UploadPeer; http: Caisson["http"] }> {
  const uploads = new UploadPeer();
  const peer = await HttpPeer.listen(uploads.answer);
  return { peer, uploads, http: new Caisson({ url: peer.url, apiKey: "k" }).http };
}

describe("uploads", () => {
  const bytes = randomBytes(20 * MIB);
  const streamed = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += 300_000) yield bytes.subarray(at, at + 300_000);
  };

  test.each([
    ["bytes", () => bytes],
    ["a blob", () => new Blob([bytes])],
    ["a stream of any pieces", streamed],
  ])("send %s piece by piece, and tell how far they are", async (_what, content) => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    const sent: number[] = [];
    const written = await uploadFile(http, SANDBOX, "/f", content(), { onProgress: (progress) => void sent.push(progress.sent) });
    expect(written.sha256).toBe(sha256(bytes));
    expect(uploads.committed?.equals(bytes)).toBe(true);
    expect(sent).toEqual([8 * MIB, 16 * MIB, 20 * MIB]);
  });

  test("go on after a break within a piece, with what did not arrive", async () => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    uploads.fail("PATCH", (response, body) => {
      uploads.content = body.subarray(0, 1_000_000); // some arrived
      response.destroy();
    });
    uploads.fail("GET", (response) => sendJson(response, 503, { code: "agent_unreachable", message: "Not yet." }));
    await uploadFile(http, SANDBOX, "/f", streamed());
    expect(uploads.committed?.equals(bytes)).toBe(true);
  });

  test("go on when all arrived and only the answer was lost", async () => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    uploads.fail("PATCH", (response, body) => {
      uploads.content = body;
      response.destroy();
    });
    await uploadFile(http, SANDBOX, "/f", bytes);
    expect(uploads.committed?.equals(bytes)).toBe(true);
  });

  test("find the file when the answer to the last step was lost", async () => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    const small = Buffer.from("small");
    const content = (async function* () {
      // From here on the next POST is the last step.
      uploads.fail("POST", (response) => {
        uploads.committed = uploads.content;
        uploads.open = false;
        response.destroy();
      });
      yield small;
    })();
    expect((await uploadFile(http, SANDBOX, "/f", content)).sha256).toBe(sha256(small));
    expect(uploads.committed?.toString()).toBe("small");
  });

  test("that fail for good, or are aborted, are dropped", async () => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    uploads.fail("PATCH", (response) => sendJson(response, 507, { code: "no_space", message: "Full." }));
    await expect(uploadFile(http, SANDBOX, "/f", bytes)).rejects.toMatchObject({ code: "no_space" });
    expect(uploads.open).toBe(false);
    const abort = new AbortController();
    uploads.content = Buffer.alloc(0);
    const stopped = uploadFile(http, SANDBOX, "/f", streamed(), {
      signal: abort.signal,
      onProgress: () => abort.abort(new Error("enough")),
    });
    await expect(stopped).rejects.toThrow("enough");
    expect(uploads.open).toBe(false);
    expect(peer.requests.at(-1)).toBe(`DELETE /api/v1${SANDBOX}/uploads/7`);
  });

  test("lose patience with a server that stays away", async () => {
    const { peer, uploads, http } = await start();
    await using _ = peer;
    for (let i = 0; i < 50; i += 1) for (const method of ["PATCH", "GET"]) uploads.fail(method, (response) => void response.destroy());
    await expect(uploadFile(http, SANDBOX, "/f", bytes, { patienceMs: 200 })).rejects.toMatchObject({ code: "server_unreachable" });
  });
});
