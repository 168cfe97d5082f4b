import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmodSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { extract } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packFolder } from "./client/pack-folder.ts";

const BIN = fileURLToPath(new URL("../bin/caisson.mjs", import.meta.url));

let folder: string;
let server: ChildProcess;
let env: Record<string, string>;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(args: readonly string[], more: Readonly<Record<string, string>> = {}): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], { env: { ...env, ...more }, stdio: ["pipe", "pipe", "pipe"] });
}

async function end(child: ChildProcess): Promise<Ended> {
  const said = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (said.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (said.stderr += chunk.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, ...said };
}

async function caisson(args: readonly string[], options: { stdin?: string; env?: Readonly<Record<string, string>> } = {}): Promise<Ended> {
  const child = start(args, options.env);
  child.stdin?.end(options.stdin ?? "");
  return end(child);
}

/** Resolves with what a process wrote once it wrote `text`; rejects when it ends before. */
async function until(child: ChildProcess, text: string): Promise<string> {
  let said = "";
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer): void => {
      said += chunk.toString();
      if (said.includes(text)) resolve(said);
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("close", (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "caisson-cli-"));
  env = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    CAISSON_DATA_DIR: join(folder, "data"),
    CAISSON_SERVER__PORT: "0",
    CAISSON_PROVIDERS__DEFAULT: "mock",
    CAISSON_PROVIDERS__MOCK__ENABLED: "true",
    CAISSON_PROVIDERS__OCI__ENABLED: "false",
    CAISSON_PROVIDERS__BUBBLEWRAP__ENABLED: "false",
    CAISSON_DEFAULTS__PIDS: "1024",
  };
  server = start(["serve"]);
  await until(server, "Next, in another terminal");
});

afterAll(async () => {
  const gone = end(server);
  server.kill("SIGTERM");
  await gone;
  rmSync(folder, { recursive: true, force: true });
});

describe("serve", () => {
  test("keeps keys to its user, and writes down where it is", () => {
    expect(statSync(join(folder, "data")).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, "data", "credentials.json")).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(join(folder, "data", "server.json"), "utf8"))).toMatchObject({ pid: server.pid });
    const { api_key, admin_api_key } = JSON.parse(readFileSync(join(folder, "data", "credentials.json"), "utf8")) as Record<string, string>;
    expect(api_key).toMatch(/^cak_[\w-]{43}$/);
    expect(admin_api_key).toMatch(/^caa_[\w-]{43}$/);
    const database =
      readFileSync(join(folder, "data", "caisson.db"), "latin1") + readFileSync(join(folder, "data", "caisson.db-wal"), "latin1");
    expect(database).not.toContain(api_key);
  });

  test("a second server on the same data folder is refused with the first one's process id", async () => {
    const { code, stderr } = await caisson(["serve"]);
    expect(code).toBe(5);
    expect(stderr).toContain(`process id ${server.pid}`);
  });

  test("a wrong configuration is told before anything is made", async () => {
    const { code, stderr } = await caisson(["serve"], { env: { CAISSON_SERVER__PRT: "1", CAISSON_DATA_DIR: join(folder, "other") } });
    expect(code).toBe(2);
    expect(stderr).toContain("did you mean CAISSON_SERVER__PORT?");
  });
});

describe("run and exec", () => {
  test("pass output and the exit code on, and leave nothing", async () => {
    expect(await caisson(["run", "--", "sh", "-c", "echo out; echo err >&2; exit 7"])).toEqual({
      code: 7,
      stdout: "out\n",
      stderr: "err\n",
    });
    expect((await caisson(["ls", "-q"])).stdout).not.toMatch(/^sb/m);
  });

  test("pass standard input on, byte for byte", async () => {
    const { code, stdout } = await caisson(["run", "cat"], { stdin: "one\ntwo\u0000\u00e9" });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "one\ntwo\u0000\u00e9" });
  });

  test("answer in JSON", async () => {
    const { stdout } = await caisson(["run", "--json", "--", "echo", "hi"]);
    expect(JSON.parse(stdout)).toMatchObject({ exit_code: 0, stdout: "hi\n", timed_out: false });
  });

  test("a timeout ends with 124", async () => {
    expect((await caisson(["run", "--timeout", "100ms", "--", "sleep", "100"])).code).toBe(124);
  });

  test("our own failures end with 125, in two lines", async () => {
    const { code, stderr } = await caisson(["run", "--provider", "oci", "--", "true"]);
    expect(code).toBe(125);
    expect(stderr).toMatch(/^caisson: .*\n {2}.*\n$/);
    expect((await caisson(["run", "--nonsense", "--", "true"])).code).toBe(125);
  });

  test("Ctrl-C destroys the sandbox and ends with 130", async () => {
    const child = start(["run", "--", "sh", "-c", "echo begun; sleep 1000"]);
    await until(child, "begun");
    const gone = once(child, "close");
    child.kill("SIGINT");
    expect(await gone).toEqual([130, null]);
    expect((await caisson(["ls", "-q"])).stdout).not.toMatch(/^sb/m);
  });
});

describe("sandboxes", () => {
  test("live from create to rm", async () => {
    const id = (await caisson(["create", "--metadata", "team=a"])).stdout.trim();
    expect(id).toMatch(/^sb/);
    expect((await caisson(["exec", id, "--", "sh", "-c", "exit 3"])).code).toBe(3);
    expect(JSON.parse((await caisson(["ls", "--json", "--metadata", "team=a"])).stdout)).toMatchObject([{ id, state: "running" }]);
    expect((await caisson(["cp", "-", `${id}:/tmp/a`], { stdin: "content" })).code).toBe(0);
    expect((await caisson(["cp", `${id}:/tmp/a`, "-"])).stdout).toBe("content");
    expect((await caisson(["cp", `${id}:/tmp/a`, folder])).code).toBe(0);
    expect(readFileSync(join(folder, "a"), "utf8")).toBe("content");
    expect((await caisson(["ps", "-a", id])).stdout).toContain("exit 3");
    expect((await caisson(["rm", id])).stdout.trim()).toBe(id);
  });

  test("errors have the exit code of the table, and are problems with --json", async () => {
    const { code, stderr } = await caisson(["get", "sb0000000000000000000a1", "--json"]);
    expect(code).toBe(3);
    expect(JSON.parse(stderr)).toMatchObject({ code: "sandbox_not_found", status: 404 });
  });
});

describe("finding the server", () => {
  test("no server is told with what to do", async () => {
    const { code, stderr } = await caisson(["ls"], { env: { CAISSON_URL: "http://127.0.0.1:9" } });
    expect(code).toBe(8);
    expect(stderr).toContain("No answer from http://127.0.0.1:9");
  });

  test("this machine's key is not sent to another address", async () => {
    const seen: (string | undefined)[] = [];
    const other = createServer((request, response) => {
      seen.push(request.headers["x-api-key"] as string | undefined);
      response.writeHead(401).end("{}");
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as { port: number };
    expect((await caisson(["ls", "--url", `http://127.0.0.1:${port}`])).code).toBe(4);
    other.close();
    expect(seen).toEqual([undefined]);
  });

  test("env prints what a shell takes over", async () => {
    expect((await caisson(["env"])).stdout).toMatch(/^export CAISSON_URL='http:\/\/127\.0\.0\.1:\d+'\nexport CAISSON_API_KEY='cak_/);
  });
});

test("a folder is packed with its modes, links and hard links", async () => {
  const root = join(folder, "root");
  mkdirSync(join(root, "bin"), { recursive: true });
  writeFileSync(join(root, "bin", "tool"), "x".repeat(100_000));
  chmodSync(join(root, "bin", "tool"), 0o755);
  symlinkSync("tool", join(root, "bin", "link"));
  linkSync(join(root, "bin", "tool"), join(root, "bin", "same"));
  const found: unknown[] = [];
  const reader = extract();
  Readable.from(packFolder(root)).pipe(reader as unknown as NodeJS.WritableStream);
  for await (const entry of reader) {
    const { name, type, mode, size, linkname } = entry.header;
    found.push({ name, type, mode, size, linkname });
    entry.resume();
  }
  expect(found).toMatchObject([
    { name: "bin", type: "directory" },
    { name: "bin/link", type: "symlink", linkname: "tool" },
    { name: "bin/same", type: "file", mode: 0o755, size: 100_000 },
    { name: "bin/tool", type: "link", linkname: "bin/same" },
  ]);
});
