import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Event, Sandbox } from "@caisson/contract";
import { Caisson, type EventOrGap } from "@caisson/sdk";
import { expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

const clientOf = (server: TestServer): Caisson => new Caisson({ url: server.url, apiKey: server.apiKey });

/** A client that keeps asking at the server's present address, which changes with every start. */
function movingClient(server: TestServer): Caisson {
  const base = server.url;
  const moving: typeof fetch = (input, init) => fetch((input as string).replace(base, server.url), init);
  return new Caisson({ url: base, apiKey: server.apiKey, fetch: moving });
}

it("a stream of events goes on over kill -9 and restarts: every event once, in order", async () => {
  await using server = await TestServer.start();
  const got: EventOrGap[] = [];
  const stop = new AbortController();
  const stream = movingClient(server).events.stream({ after: 0, signal: stop.signal });
  const following = (async () => {
    for await (const event of stream) got.push(event);
  })();
  following.catch(() => undefined);
  const create = async (): Promise<string> => (await server.json<Sandbox>("POST", "/sandboxes", {})).id;
  const ids = [await create(), await create()];
  await server.kill9();
  await server.up();
  ids.push(await create());
  await server.stop();
  await server.up();
  for (const id of ids) await server.json("DELETE", `/sandboxes/${id}`);
  const all = await clientOf(server).events.list({ limit: 1000 });
  const last = all.at(-1)?.seq ?? 0;
  await expect.poll(() => got.at(-1)).toMatchObject({ seq: expect.any(Number) });
  await expect.poll(() => (got.at(-1) as Event).seq).toBeGreaterThanOrEqual(last);
  expect(got.slice(0, all.length)).toEqual(all);
  expect(all.map((event) => event.seq)).toEqual(Array.from(all, (_, i) => i + 1));
  for (const id of ids) expect(all.filter((event) => event.resource_id === id).map((event) => event.type)).toContain("sandbox.destroyed");
  stop.abort(new Error("enough"));
  await expect(following).rejects.toThrow("enough");
});

it("filters by sandbox and kind, begins now by default, and refuses what it cannot follow", async () => {
  await using server = await TestServer.start();
  const client = clientOf(server);
  const first = await server.json<Sandbox>("POST", "/sandboxes", {});
  const second = await server.json<Sandbox>("POST", "/sandboxes", {});
  const raw = await server.fetch("GET", "/events/stream");
  expect(raw.headers.get("content-type")).toBe("text/event-stream");
  await server.json("DELETE", `/sandboxes/${first.id}`);
  let text = "";
  for await (const chunk of raw.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    if (/event: sandbox.destroyed\ndata: .*\n\n/.test(text)) break;
  }
  expect(text).not.toContain("sandbox.created");
  expect(/id: (\d+)\nevent: sandbox.destroyed\ndata: (.*)\n/.exec(text)?.[2]).toContain(first.id);

  const following = client.events.stream({ sandboxId: second.id, types: ["sandbox.destroyed"], after: 0 }).next();
  await server.json("DELETE", `/sandboxes/${second.id}`);
  expect((await following).value).toMatchObject({ type: "sandbox.destroyed", resource_id: second.id });

  const refused = await server.fetch("GET", "/events/stream?after=1000000");
  expect([refused.status, await refused.json()]).toMatchObject([400, { code: "invalid_request", errors: [{ path: "after" }] }]);
  for (const query of ["type=sandbox", "type=", "after=x", "since=1"])
    expect((await server.fetch("GET", `/events/stream?${query}`)).status).toBe(400);
  expect((await server.fetch("GET", "/events/stream", undefined, { headers: { "last-event-id": "x" } })).status).toBe(400);
});

it("tells of images, each change once", async () => {
  await using server = await TestServer.start();
  const client = new Caisson({ url: server.url, apiKey: server.apiKey, adminApiKey: server.adminKey });
  const folder = await mkdtemp(join(tmpdir(), "caisson-image-"));
  try {
    await mkdir(join(folder, "etc"));
    await promisify(execFile)("tar", ["-cf", join(folder, "a.tar"), "-C", folder, "etc"]);
    await client.images.import("mine:1", await readFile(join(folder, "a.tar")));
    await client.images.remove("mine:1");
    await expect(client.images.remove("mine:1")).rejects.toMatchObject({ code: "image_not_found" });
  } finally {
    await rm(folder, { recursive: true });
  }
  expect(await client.events.list({ types: ["image.*"] })).toMatchObject([
    { type: "image.imported", resource_type: "image", resource_id: "mine:1", sandbox_id: null, data: { size_bytes: expect.any(Number) } },
    { type: "image.removed", resource_id: "mine:1", data: {} },
  ]);
});
