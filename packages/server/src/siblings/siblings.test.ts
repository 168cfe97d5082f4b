import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer as createHttp, request, type IncomingMessage } from "node:http";
import { createServer as createTcp, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { issueCertificate, makeAuthority, makeSigningRequest, makeWorkerKey, readSigningRequest } from "@caisson/identity";
import { ask, freePort, VirtualClock } from "@caisson/testkit";
import { afterEach, describe, expect, it } from "vitest";
import type { TlsOptions } from "../http/tls-options.ts";
import type { ServerOptions } from "../server-options.ts";
import { API_KEY, startTestServer, type TestServer } from "../testing/test-server.ts";
import type { SiblingsOptions } from "./siblings.ts";

afterEach(async () => {
  for (const one of open.splice(0)) await one[Symbol.asyncDispose]();
});
const open: AsyncDisposable[] = [];

/** A control plane, with a link to the worker of every sandbox or to none. */
async function plane(
  linked: boolean,
  siblings: SiblingsOptions["farWorkers"]["siblings"],
  more: Partial<ServerOptions & SiblingsOptions> = {},
): Promise<TestServer> {
  const worker = (): Promise<string | undefined> => Promise.resolve(linked ? undefined : "w1");
  const { ca = [], ...overrides } = more;
  const server = await startTestServer({
    siblings: { id: "cp1", ca, farWorkers: { far: worker, unlinked: worker, siblings } },
    ...overrides,
  });
  open.push(server);
  return server;
}

async function sandboxOn(server: TestServer): Promise<string> {
  return ((await (await server.call("POST", "/sandboxes", { json: {} })).json()) as { id: string }).id;
}

/** How often a server was asked below this path. */
function asked(server: TestServer, path: string): number {
  return server.log.filter((line) => line["msg"] === "request" && String(line["path"]).endsWith(path)).length;
}

/** Something else that listens. */
async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ [Symbol.asyncDispose]: async () => void server.close() });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const sibling = (id: string, url: string): SiblingsOptions["farWorkers"]["siblings"][number] => ({ id, url, build: "0.2.0" });

describe("a request whose worker has no link here", () => {
  it("goes to whoever takes it, one after the other, with its body untouched; and there at first the next time", async () => {
    const [without, has] = [await plane(false, []), await plane(true, [])];
    const nobody = `http://127.0.0.1:${await freePort()}`;
    const here = await plane(false, [sibling("a", nobody), sibling("b", without.url), sibling("c", has.url)]);
    const id = await sandboxOn(has);
    const body = randomBytes(5_000_000);
    for (const name of ["one", "two"]) {
      const put = await here.call("PUT", `/sandboxes/${id}/files?path=/${name}`, {
        body,
        headers: { "content-type": "application/octet-stream" },
      });
      expect(put.status).toBe(200);
      expect((await readFile(join(has.root, name))).equals(body)).toBe(true);
    }
    expect([asked(without, "/files"), asked(has, "/files")]).toEqual([1, 2]);
    expect(here.log.filter((line) => line["forwarded_to"] === "c")).toHaveLength(2);
    const ran = await here.call("POST", `/sandboxes/${id}/exec`, { json: { command: "cat", stdin: "typed" } });
    expect(await ran.json()).toMatchObject({ stdout: "typed", exit_code: 0 });
  });

  it("that nobody takes is answered here, with its body untouched", async () => {
    const without = await plane(false, []);
    const here = await plane(false, [sibling("b", without.url)]);
    const id = await sandboxOn(here);
    const body = randomBytes(2_000_000);
    const put = await here.call("PUT", `/sandboxes/${id}/files?path=/mine`, {
      body,
      headers: { "content-type": "application/octet-stream" },
    });
    expect([put.status, asked(without, "/files")]).toEqual([200, 1]);
    expect((await readFile(join(here.root, "mine"))).equals(body)).toBe(true);
  });

  it("is passed on no further when it says that it was, and only where it is about a sandbox", async () => {
    const has = await plane(true, []);
    const here = await plane(false, [sibling("c", has.url)]);
    const id = await sandboxOn(has);
    const forged = await here.call("POST", `/sandboxes/${id}/exec`, {
      json: { command: "true" },
      headers: { "caisson-forwarded": "declined" },
    });
    expect([forged.status, forged.headers.get("caisson-forwarded"), asked(has, "/exec")]).toEqual([503, "declined", 0]);
    expect((await here.call("GET", "/sandboxes")).status).toBe(200);
    expect((await here.call("GET", "/sandboxes/none/ports")).status).toBe(404);
    expect([asked(has, "/ports"), has.log.filter((line) => line["path"] === "/api/v1/sandboxes" && line["method"] === "GET")]).toEqual([
      0,
      [],
    ]);
  });

  it("that has no bytes of body to keep back goes to one only, which may have done it", async () => {
    const heads: string[] = [];
    const dying = await listening(
      createTcp((socket) => {
        socket.once("data", (head) => {
          heads.push(head.toString());
          socket.destroy();
        });
      }),
    );
    const has = await plane(true, []);
    const here = await plane(false, [sibling("a", dying), sibling("b", has.url)]);
    const id = await sandboxOn(has);
    const refused = await here.call("POST", `/sandboxes/${id}/code/contexts/ctx/restart`, { body: "" });
    expect([refused.status, asked(has, "/restart"), heads.length]).toEqual([503, 0, 1]);
    expect(heads[0]).toMatch(/content-length: 0\r\n/i);
    expect(heads[0]).not.toMatch(/expect:/i);
  });

  it("ends when the other control plane stands still, though its machine takes connections", async () => {
    const clock = new VirtualClock();
    const still = await listening(createTcp((socket) => void socket.resume()));
    const here = await plane(false, [sibling("a", still)], { clock });
    const id = await sandboxOn(here);
    let status: number | undefined;
    const asking = here.call("GET", `/sandboxes/${id}/processes`).then((answer) => (status = answer.status));
    const later = async (): Promise<number | undefined> => (await clock.advance(1_000), status);
    await expect.poll(later, { interval: 10 }).toBe(503);
    await asking;
  });

  it("that became a WebSocket whose client does not read holds up no server that closes", async () => {
    let sent: Socket | undefined;
    const flood = await listening(
      createTcp((socket) => {
        sent = socket.on("error", () => undefined);
        socket.once("data", () => {
          socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
          const more = (): void => void (socket.writable && socket.write(Buffer.alloc(65_536), more));
          more();
        });
      }),
    );
    const here = await plane(false, [sibling("a", flood)], { limits: { closeDeadlineMs: 200 } });
    const key = { "x-api-key": API_KEY, "sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const headers = { ...key, connection: "Upgrade", upgrade: "websocket" };
    const asking = request(`${here.url}/api/v1/sandboxes/${await sandboxOn(here)}/exec/ws`, { agent: false, headers }).end();
    const [, client] = (await once(asking, "upgrade")) as [IncomingMessage, Socket];
    client.pause().on("error", () => undefined);
    let before = -1;
    const stands = (): boolean => before === (before = sent?.bytesWritten ?? 0);
    await expect.poll(stands, { interval: 200 }).toBe(true);
    await here.server.close();
    client.destroy();
  });

  it("that is answered from the database alone is answered here", async () => {
    const has = await plane(true, []);
    const here = await plane(false, [sibling("c", has.url)]);
    const id = await sandboxOn(here);
    const forwarded = { "caisson-forwarded": "cp2" };
    for (const headers of [{}, forwarded]) expect((await here.call("GET", `/sandboxes/${id}`, { headers })).status).toBe(200);
    expect((await here.call("POST", `/sandboxes/${id}/extend`, { json: { ttl: "1h" } })).status).toBe(200);
    expect([asked(has, id), asked(has, "/extend")]).toEqual([0, 0]);
  });

  it("shows no sandbox that it was passed on, and is not fooled by one that says so", async () => {
    const seen: IncomingMessage[] = [];
    const http = createHttp((message, response) => {
      seen.push(message);
      message.resume().once("end", () => response.writeHead(200, { "caisson-forwarded": "declined" }).end("shown"));
    });
    const shownUrl = await listening(http);
    const has = await plane(true, []);
    const here = await plane(false, [sibling("c", has.url)]);
    const host = `${new URL(shownUrl).port}-${await sandboxOn(has)}.localhost`;
    const shown = await ask(here.url, "/", { host, method: "POST", body: randomBytes(300_000), headers: { "x-api-key": API_KEY } });
    expect([shown.status, shown.body.toString(), shown.headers["caisson-forwarded"]]).toEqual([200, "shown", undefined]);
    expect(seen.map(({ headers }) => [headers["caisson-forwarded"], headers["expect"], headers["x-api-key"]])).toEqual([
      [undefined, undefined, undefined],
    ]);
  });
});

describe("a control plane that speaks TLS", () => {
  async function certificate(address: string): Promise<{ readonly tls: TlsOptions; readonly ca: string }> {
    const authority = await makeAuthority("test", Date.now());
    const key = makeWorkerKey();
    const { publicKey } = await readSigningRequest(await makeSigningRequest(key, "test"));
    const of = { publicKey, installation: "test", workerId: "test", now: Date.now(), ttlMs: 86_400_000, addresses: [address] };
    return { tls: { key, cert: (await issueCertificate(authority, of)).certificate, clientCa: [] }, ca: authority.certificate };
  }

  it.each([
    ["that is trusted, for its host", "127.0.0.1", true, 200],
    ["that is not trusted", "127.0.0.1", false, 404],
    ["for another host", "127.0.0.2", true, 404],
  ])("is asked when it shows a certificate %s: %s, %s", async (_what, address, trusted, status) => {
    const { tls, ca } = await certificate(address);
    const secure = await startTestServer({ tls, siblings: { id: "c", ca: [], farWorkers: { far: none, unlinked: none, siblings: [] } } });
    open.push(secure);
    const here = await plane(false, [sibling("c", secure.url)], { ca: trusted ? [ca] : [] });
    const { id } = await secure.operations.create({});
    expect((await here.call("POST", `/sandboxes/${id}/exec`, { json: { command: "true" } })).status).toBe(status);
  });

  it("is told which host is meant, where that has a name", async () => {
    const { tls, ca } = await certificate("localhost");
    const secure = await startTestServer({ tls, siblings: { id: "c", ca: [], farWorkers: { far: none, unlinked: none, siblings: [] } } });
    open.push(secure);
    const connected = once(secure.server.app.server, "secureConnection") as Promise<[TLSSocket]>;
    const here = await plane(false, [sibling("c", secure.url.replace("127.0.0.1", "localhost"))], { ca: [ca] });
    const { id } = await secure.operations.create({});
    expect((await here.call("POST", `/sandboxes/${id}/exec`, { json: { command: "true" } })).status).toBe(200);
    expect((await connected)[0].servername).toBe("localhost");
  });
});

const none = (): Promise<undefined> => Promise.resolve(undefined);
