import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { PortList, Sandbox } from "@caisson/contract";
import { ask, begin } from "@caisson/testkit";
import { beforeAll, expect, it } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import { showPort } from "../harness/shown-port.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

/** What a port shows over HTTP, by host and by path. */
export function previews(target: () => SandboxTarget): void {
  let api: ApiAccess;
  beforeAll(() => {
    ({ api } = target());
  });

  /** A connection behind an upgrade; what it got is in `text`. */
  async function upgraded(host: string): Promise<{ socket: Socket; next: () => Promise<string> }> {
    const { hostname, port } = new URL(api.url);
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on("error", () => undefined);
    socket.write(
      `GET /ws HTTP/1.1\r\nHost: ${host}\r\nX-API-Key: ${api.apiKey}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`,
    );
    const next = async (): Promise<string> => String((await once(socket, "data"))[0]);
    expect(await next()).toMatch(/^HTTP\/1\.1 101 /);
    return { socket, next };
  }

  it("lists the port, shows it by host and by path, and keeps the sandbox's time to live", async () => {
    const sandbox = await target().createInfo();
    const { get } = await showPort(api, sandbox);
    const { items } = await api.json<PortList>("GET", `/sandboxes/${sandbox.id}/ports`);
    const url: unknown = expect.stringMatching(new RegExp(`^http://8000-${sandbox.id}\\.localhost:\\d+/$`));
    const seen = { port: 8000, address: "127.0.0.1", listening: true, user: "user", published: false, public: false, url };
    expect(items).toMatchObject([seen]);
    expect(items[0]?.command).toContain("node");
    expect((await get("/by/host?q=1")).body.toString()).toBe("/by/host?q=1");
    const byPath = await ask(api.url, `/preview/${sandbox.id}/8000/by/path`, { headers: { "x-api-key": api.apiKey } });
    expect(byPath.body.toString()).toBe("/by/path");
    const after = await api.json<Sandbox>("GET", `/sandboxes/${sandbox.id}`);
    expect([after.expires_at, after.preview_domain]).toEqual([sandbox.expires_at, target().previewDomain]);
  });

  it("ends every open connection with the sandbox, and answers 410 afterwards", async () => {
    const sandbox = await target().createInfo();
    const { host, get } = await showPort(api, sandbox);
    await api.json("PUT", `/sandboxes/${sandbox.id}/ports/8000`, { public: true });
    const events = await begin(api.url, "/events", { host });
    expect(String((await once(events, "data"))[0])).toBe("data: 1\n\n");
    const { socket, next } = await upgraded(host);
    const echoed = next();
    socket.write("echo");
    expect(await echoed).toBe("echo");
    events.on("error", () => undefined);
    const ended = Promise.all([events, socket].map((one) => new Promise((resolve) => one.once("close", resolve))));
    await api.fetch("DELETE", `/sandboxes/${sandbox.id}`);
    await ended;
    expect((await get("/")).status).toBe(410);
    expect((await ask(api.url, "/", { host })).status).toBe(410);
    for (const [method, path] of [
      ["GET", "ports"],
      ["PUT", "ports/8000"],
      ["POST", "ports/8000/token"],
    ] as const)
      expect(
        (
          await api.fetch(
            method,
            `/sandboxes/${sandbox.id}/${path}`,
            method === "PUT" ? { public: true } : method === "POST" ? {} : undefined,
          )
        ).status,
      ).toBe(410);
  });
}
