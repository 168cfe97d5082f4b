import { execFile } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { Tmux } from "../harness/tmux.ts";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;

let server: TestServer;
let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-worker-"));
  server = await TestServer.start({ CAISSON_AUTH__WORKER_TOKEN: "a-shared-token-for-staging" });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function caisson(args: readonly string[], env: Record<string, string>, input = ""): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [CLI, ...args],
      { env: { PATH: process.env["PATH"] ?? "", HOME: dir, ...env } },
      (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
      },
    );
    child.stdin?.end(input);
  });
}

const worker = (...args: string[]): Promise<Ended> => caisson(["worker", ...args], { CAISSON_DATA_DIR: dir });
const admin = async (path: string, body?: object): Promise<Record<string, unknown>> => {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method: "POST",
    headers: { "x-api-key": server.adminKey, "content-type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
  return (await response.json()) as Record<string, unknown>;
};

it("joins, shows and checks who it is, and says when it is refused", { timeout: 180_000 }, async () => {
  const none = await worker("identity", "--json");
  expect(none.code).toBe(4);
  expect(JSON.parse(none.stderr)).toMatchObject({ code: "unauthorized" });

  const { token } = await admin("/workers", { id: "worker-a" });
  const wrong = await worker("join", server.url, "--token", "cwi_not-the-token-of-anybody", "--no-start");
  expect(wrong).toMatchObject({ code: 4 });
  expect(wrong.stderr).toContain("caisson workers add");
  const joined = await worker("join", server.url, "--token", String(token), "--no-start", "--json");
  expect(joined).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(joined.stdout)).toMatchObject({ worker_id: "worker-a", control_plane_url: server.url });

  const shown = await worker("identity", "--json");
  expect(shown.code).toBe(0);
  expect(JSON.parse(shown.stdout)).toMatchObject({
    worker_id: "worker-a",
    kind: "registered",
    credential: "certificate",
    accepted: true,
    control_plane_url: server.url,
    checks: [{ ok: true }, { ok: true }, { ok: true }, { ok: true }, { ok: true }],
  });
  expect(shown.stdout).not.toContain("PRIVATE KEY");
  const people = await worker("identity");
  expect(people.stdout).toContain("takes it as worker-a (certificate)");

  await chmod(join(dir, "joined", "worker", "identity", "identity.json"), 0o644);
  expect(await worker("identity")).toMatchObject({ code: 4, stdout: expect.stringContaining("others may read the private key") as string });
  await chmod(join(dir, "joined", "worker", "identity", "identity.json"), 0o600);

  const again = await worker("join", server.url, "--token", String(token), "--no-start");
  expect(again.code).toBe(4);
  await admin("/workers/worker-a/revoke");
  const revoked = await worker("identity", "--json");
  expect(revoked.code).toBe(4);
  expect(JSON.parse(revoked.stdout)).toMatchObject({ accepted: false, reason: "revoked" });

  const { token: second } = await admin("/workers", { id: "worker-a" });
  expect((await worker("join", server.url, "--token", String(second), "--no-start")).code).toBe(0);
  expect((await worker("identity")).code).toBe(0);
  await server.stop();
  expect(await worker("identity", "--json")).toMatchObject({ code: 8 });
  const file = JSON.parse(await readFile(join(dir, "joined", "worker", "identity", "identity.json"), "utf8")) as {
    credentials: { worker_id: string };
  };
  expect(file.credentials.worker_id).toBe("worker-a");
});

it("checks a token of the configuration, too", { timeout: 180_000 }, async () => {
  const env = {
    CAISSON_DATA_DIR: dir,
    CAISSON_WORKER__ID: "worker-s",
    CAISSON_WORKER__CONTROL_PLANE_URL: server.url,
    CAISSON_AUTH__WORKER_TOKEN: "a-shared-token-for-staging",
  };
  const good = await caisson(["worker", "identity", "--json"], env);
  expect(good.code).toBe(0);
  expect(JSON.parse(good.stdout)).toMatchObject({ worker_id: "worker-s", kind: "token", credential: "shared", accepted: true });
  const bad = await caisson(["worker", "identity"], { ...env, CAISSON_AUTH__WORKER_TOKEN: "not-the-token-of-anybody" });
  expect(bad).toMatchObject({ code: 4, stdout: expect.stringContaining("No worker has this token.") as string });
});

it("takes the token from standard input and from a file, so that nobody sees it among the processes", { timeout: 180_000 }, async () => {
  const joinIn = (folder: string, input: string, ...args: string[]): Promise<Ended> =>
    caisson(["worker", "join", server.url, ...args, "--no-start"], { CAISSON_DATA_DIR: join(dir, folder) }, input);
  const invite = async (id?: string): Promise<string> => String((await admin("/workers", id === undefined ? {} : { id }))["token"]);

  expect(await joinIn("a", `${await invite("worker-a")}\n`, "--token-file", "-")).toMatchObject({
    code: 0,
    stderr: "",
    stdout: expect.stringContaining("as worker-a.") as string,
  });
  const file = join(dir, "token");
  await writeFile(file, `${await invite("worker-b")}\n`, { mode: 0o600 });
  const other = await joinIn("b", "", "--token-file", file, "--id", "worker-c");
  expect(other).toMatchObject({ code: 4, stderr: expect.stringContaining("Leave --id and worker.id out") as string });
  expect(await joinIn("b", "", "--token-file", file)).toMatchObject({ code: 0, stdout: expect.stringContaining("as worker-b.") as string });
  const again = await joinIn("b", "", "--token-file", file);
  expect(again).toMatchObject({ code: 4, stderr: expect.stringContaining("`caisson worker` runs it") as string });

  const nameless = await invite();
  expect(await joinIn("c", nameless, "--token-file", "-", "--id", "worker-a")).toMatchObject({
    code: 5,
    stderr: expect.stringContaining("another name with --id") as string,
  });
  expect(await joinIn("c", nameless, "--token-file", "-")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(`as ${hostname().toLowerCase()}.`) as string,
  });

  const mistakes: [input: string, args: string[], told: string][] = [
    ["", ["--token-file", "-"], "Standard input holds no token."],
    ["my notes on tokens, of more than one word\n", ["--token-file", "-"], "holds no token of an invitation"],
    ["", ["--token-file", join(dir, "nothing")], "cannot be read: ENOENT"],
    ["", ["--token-file", file, "--token", "cwi_not-the-token-of-anybody"], "are both given"],
    ["", ["--token", "short"], "holds no token of an invitation"],
    ["", [], "There is no token."],
  ];
  for (const [input, args, told] of mistakes)
    expect(await joinIn("d", input, ...args)).toMatchObject({ code: 2, stderr: expect.stringContaining(told) as string });
});

it("asks for the token at a terminal, and does not show it", { timeout: 180_000 }, async () => {
  const { token } = await admin("/workers", { id: "worker-t" });
  const line = `'${process.execPath}' '${CLI}' worker join ${server.url} --token-file - --no-start`;
  using terminal = new Tmux(line, { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dir });
  await terminal.until(/Token \(it is not shown\):/);
  await terminal.type(String(token));
  await terminal.keys("Enter");
  const screen = await terminal.until(/Joined \S+ as worker-t\./);
  expect(screen).not.toContain("cwi_");
});

it("refuses addresses and names that cannot be", { timeout: 180_000 }, async () => {
  for (const args of [["ftp://example.org"], ["https://example.org/path"], ["https://user:pass@example.org"], ["nonsense"]])
    expect((await worker("join", ...args, "--token", "t", "--no-start")).code).toBe(2);
  expect((await worker("join", server.url, "--token", "t", "--id", "Not A Name", "--no-start")).code).toBe(2);
  expect((await worker("join", "http://127.0.0.1:1", "--token", "cwi_token-of-somebody", "--no-start")).code).toBe(8);
});
