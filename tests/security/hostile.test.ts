import { randomBytes } from "node:crypto";
import { readdir } from "node:fs/promises";
import { connect, type NetConnectOpts } from "node:net";
import { join } from "node:path";
import type { ExecResult, Problem, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ndjson } from "../harness/ndjson.ts";
import { TestServer } from "../harness/server.ts";

/** A plain user has no control groups, so only the number of processes can be limited. */
const ROOT = process.getuid?.() === 0;

let server: TestServer;
let victim: Sandbox;
let neighbour: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  const limits = ROOT ? { pids: 128, memory_mb: 256, vcpus: 1 } : { pids: 128 };
  [victim, neighbour] = await Promise.all([
    server.json<Sandbox>("POST", "/sandboxes", limits),
    server.json<Sandbox>("POST", "/sandboxes", limits),
  ]);
}, 120_000);

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Runs a shell line; the status and the parsed answer. */
async function run(
  sandbox: Sandbox,
  command: string,
  more: Record<string, unknown> = {},
): Promise<{ status: number; body: ExecResult & Problem }> {
  const response = await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, { command, timeout: "20s", ...more });
  return { status: response.status, body: (await response.json()) as ExecResult & Problem };
}

/** Paths of all sockets in a folder; what may not be looked into (the kernel's side of an overlay) holds none. */
async function socketsBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const found = await Promise.all(
    entries.map(async (entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? socketsBelow(path) : entry.isSocket() ? [path] : [];
    }),
  );
  return found.flat();
}

/** The server answers, and the neighbour works, within a bound. */
async function allIsWell(): Promise<void> {
  expect((await fetch(`${server.url}/health`)).status).toBe(200);
  const answer = await run(neighbour, "echo well");
  expect(answer.body.stdout).toBe("well\n");
}

/** The sandbox itself still takes commands. */
async function stillUsable(sandbox: Sandbox): Promise<void> {
  const answer = await run(sandbox, "echo usable");
  expect(answer.body.stdout).toBe("usable\n");
}

describe("hostile commands", () => {
  it("a fork bomb is held by the process limit and killed whole by its timeout", async () => {
    const bomb = run(victim, "sleep 60 & p=$!; bomb() { bomb | bomb & }; bomb; wait $p", { timeout: "4s" });
    await allIsWell();
    const answer = await bomb;
    expect(answer.status).toBe(408);
    await allIsWell();
    await stillUsable(victim);
  });

  it.skipIf(!ROOT)("a memory hog is killed and named by its status; the sandbox lives", async () => {
    const answer = await run(victim, "python3 -c 'x = bytearray(1 << 30); print(len(x))'");
    expect(answer.status).toBe(200);
    expect(answer.body.exit_code).toBe(137);
    await allIsWell();
    await stillUsable(victim);
  });

  it("a process that ignores SIGTERM ends at its timeout with 408, daemons included", async () => {
    const answer = await run(
      victim,
      "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' &) ; while :; do sleep 1; done",
      { timeout: "2s" },
    );
    expect(answer.status).toBe(408);
    expect(answer.body.code).toBe("exec_timeout");
    const left = await run(victim, "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done | grep -c '[w]hile :' || true");
    expect(left.body.stdout).toBe("0\n");
    await allIsWell();
  });

  it("a 1 GB line without a newline streams whole and bounded", { timeout: 600_000 }, async () => {
    const size = 1_000_000_000;
    const response = await server.fetch("POST", `/sandboxes/${victim.id}/exec`, {
      command: `head -c ${size} /dev/zero | tr '\\0' x`,
      stream: true,
    });
    let bytes = 0;
    let exits = 0;
    for await (const record of ndjson(response)) {
      if (record.type === "output") bytes += record.data.length;
      if (record.type === "exit") {
        exits += 1;
        expect(record.exit_code).toBe(0);
      }
    }
    expect(bytes).toBe(size);
    expect(exits).toBe(1);
    await allIsWell();
  });

  it("the same line in a JSON answer is cut and says so", async () => {
    const answer = await run(victim, "head -c 100000000 /dev/zero | tr '\\0' x", { timeout: "60s" });
    expect(answer.status).toBe(200);
    expect(answer.body.stdout_truncated).toBe(true);
    expect(answer.body.stdout_bytes).toBe(100_000_000);
    await allIsWell();
  });

  it("a deleted working directory is a clear error", async () => {
    const gone = await run(victim, "true", { workdir: "/home/user/never-there" });
    expect(gone.status).toBe(404);
    expect(gone.body.message).toContain("/home/user/never-there");
    const inside = await run(victim, "mkdir -p /tmp/gone && cd /tmp/gone && rmdir /tmp/gone && echo still here");
    expect(inside.body.stdout).toBe("still here\n");
    await stillUsable(victim);
  });
});

describe("hostile paths", () => {
  it("a symlink to the host's /etc/passwd shows the sandbox's own", async () => {
    await run(victim, "ln -sf /etc/passwd /home/user/link && ln -sf ../../../../../../../../etc/shadow /home/user/shadow");
    const read = await server.fetch("GET", `/sandboxes/${victim.id}/files?path=/home/user/link`);
    const text = await read.text();
    expect(text).toBe((await run(victim, "cat /etc/passwd")).body.stdout);
    const shadow = await server.fetch("GET", `/sandboxes/${victim.id}/files?path=/home/user/shadow`);
    expect([403, 404]).toContain(shadow.status);
  });

  const up = `/home/user/${"../".repeat(40)}`;
  const fields: [string, string, string, unknown][] = [
    ["read", "GET", `/files?path=${encodeURIComponent(`${up}etc/shadow`)}`, undefined],
    ["stat", "GET", `/files/stat?path=${encodeURIComponent(`${up}root/.ssh`)}`, undefined],
    ["list", "GET", `/files/list?path=${encodeURIComponent(`${up}boot`)}`, undefined],
    ["glob", "GET", `/files/glob?pattern=${encodeURIComponent(`${up}root/.*/*`)}`, undefined],
    ["write", "POST", "/files", { path: `${up}etc/caisson-escape`, content: "x" }],
    ["upload", "PUT", `/files?path=${encodeURIComponent(`${up}etc/caisson-escape`)}`, undefined],
    ["delete", "DELETE", `/files?path=${encodeURIComponent(`${up}etc/hostname`)}`, undefined],
    ["move", "POST", "/files/move", { old_path: `${up}etc/hostname`, new_path: `${up}etc/caisson-escape` }],
    ["chmod", "POST", "/files/chmod", { path: `${up}etc/passwd`, mode: "0777" }],
    ["chown", "POST", "/files/chown", { path: `${up}etc/caisson-escape`, owner: "user" }],
    ["mkdir", "POST", "/files/mkdir", { path: `${up}etc/caisson-escape-folder` }],
    ["workdir", "POST", "/exec", { command: "ls /root /boot 2>/dev/null", workdir: `${up}root` }],
  ];
  it.each(fields)("../ in %s never leaves the sandbox", async (_name, method, path, body) => {
    const before = await readdir("/etc");
    const response = await server.fetch(method, `/sandboxes/${victim.id}${path}`, body);
    await response.text();
    expect(response.status).toBeLessThan(500);
    expect(await readdir("/etc")).toEqual(before);
  });

  it("a relative path and a NUL are refused by name", async () => {
    for (const path of ["../../etc/passwd", "a.txt", "", "/a\0b"]) {
      const response = await server.fetch("POST", `/sandboxes/${victim.id}/files`, { path, content: "x" });
      const problem = (await response.json()) as Problem;
      expect(response.status).toBe(400);
      expect(problem.errors?.[0]?.path).toBe("path");
    }
  });
});

describe("unknown fields", () => {
  const bodies: [string, Record<string, unknown>][] = [
    ["/sandboxes", { image: "host" }],
    ["/sandboxes/ID/extend", { ttl: "30m" }],
    ["/sandboxes/ID/exec", { command: "true" }],
    ["/sandboxes/ID/files", { path: "/tmp/a", content: "" }],
    ["/sandboxes/ID/files/move", { old_path: "/tmp/a", new_path: "/tmp/b" }],
    ["/sandboxes/ID/files/chmod", { path: "/tmp/a", mode: "0600" }],
    ["/sandboxes/ID/files/chown", { path: "/tmp/a", owner: "user" }],
    ["/sandboxes/ID/files/mkdir", { path: "/tmp/c" }],
    ["/sandboxes/ID/processes/1/signal", { signal: "TERM" }],
    ["/images", { reference: "debian:12" }],
  ];
  it.each(bodies)("POST %s refuses a field it does not know", async (path, body) => {
    const response = await fetch(`${server.url}/api/v1${path.replace("ID", victim.id)}`, {
      method: "POST",
      headers: { "x-api-key": server.adminKey, "content-type": "application/json" },
      body: JSON.stringify({ ...body, memroy_mb: 5 }),
    });
    const problem = (await response.json()) as Problem;
    expect(response.status).toBe(400);
    expect(problem.code).toBe("invalid_request");
    expect(JSON.stringify(problem.errors)).toContain("memroy_mb");
  });
});

describe("random bytes", () => {
  it("1 MB of random bytes on every socket leaves everything standing", async () => {
    const sockets = await socketsBelow(server.dataDir);
    expect(sockets.length).toBeGreaterThanOrEqual(2);
    const targets: NetConnectOpts[] = [{ port: Number(new URL(server.url).port), host: "127.0.0.1" }, ...sockets.map((path) => ({ path }))];
    for (const target of targets) {
      for (let round = 0; round < 3; round += 1) {
        const socket = connect(target);
        socket.on("error", () => undefined); // the other side may hang up at any moment: that is what is wanted
        socket.resume();
        const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
        socket.end(randomBytes(1_048_576));
        await closed;
      }
    }
    await allIsWell();
    await stillUsable(victim);
  });
});

it("the whole suite left the server up", async () => {
  await allIsWell();
  expect(server.output).not.toMatch(/unhandled/i);
});
