import { once } from "node:events";
import { mkdirSync, mkdtempSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { isCaissonError, systemClock } from "@caisson/contract";
import { afterAll, describe, expect, it } from "vitest";
import { connectAgent } from "./connect-agent.ts";
import { removeFolder } from "./removal.ts";

describe("a connection to the agent", () => {
  const folder = mkdtempSync(join(tmpdir(), "caisson-connect-"));
  const deep = join(folder, ...Array.from({ length: 8 }, () => "a-folder-with-a-long-name"));
  const servers: Server[] = [];
  afterAll(async () => {
    for (const server of servers) server.close();
    await removeFolder(folder);
  });

  async function listen(dir: string, name: string): Promise<void> {
    // Binding has the limit on length as well: it is done from within the folder.
    const home = process.cwd();
    process.chdir(dir);
    try {
      const server = createServer((socket) => socket.end("here"));
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(name, resolve));
    } finally {
      process.chdir(home);
    }
  }

  const unreachable = (error: unknown): boolean => isCaissonError(error, "agent_unreachable");

  it("reaches a socket whose path is longer than a socket address", async () => {
    mkdirSync(deep, { recursive: true });
    await listen(deep, "agent.sock");
    expect(join(deep, "agent.sock").length).toBeGreaterThan(108);
    const socket = await connectAgent(join(deep, "agent.sock"), systemClock);
    let text = "";
    socket.on("data", (chunk) => (text += String(chunk)));
    await once(socket, "end");
    expect(text).toBe("here");
  });

  it("does not follow a link that a sandbox put there", async () => {
    symlinkSync(join(deep, "agent.sock"), join(folder, "planted.sock"));
    await expect(connectAgent(join(folder, "planted.sock"), systemClock)).rejects.toSatisfy(unreachable);
  });

  it("says that nothing is there, or that nobody listens", async () => {
    await expect(connectAgent(join(folder, "none.sock"), systemClock)).rejects.toSatisfy(unreachable);
    await expect(connectAgent(deep, systemClock)).rejects.toSatisfy(unreachable);
  });
});
