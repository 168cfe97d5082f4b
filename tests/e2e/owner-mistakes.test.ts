import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";

const CLI = new URL("../../packages/cli/bin/caisson.mjs", import.meta.url).pathname;
const DSN = "postgres://caisson:a-password-of-mine@127.0.0.1:1/caisson";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-mistakes-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command on a machine that has nothing yet. */
function caisson(args: readonly string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { PATH: process.env["PATH"] ?? "", HOME: dir, CAISSON_DATA_DIR: dir, ...env }, timeout: 150_000 };
    execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

it("lists the mistakes of a configuration line by line, and says where all keys are", async () => {
  const { code, stderr } = await caisson(["worker"], { CAISSON_WORKER__BOGUS: "1", CAISSON_WORKER__PUBLIC_URL: "nonsense" });
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /^caisson: The configuration has 2 mistakes:\n {2}CAISSON_WORKER__BOGUS: .*\n {2}CAISSON_WORKER__PUBLIC_URL: .*\n/,
  );
  expect(stderr).toContain("docs/configuration.md");
});

it("says that the address of a worker is taken, and what to set", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  try {
    await new Promise((resolve) => other.once("listening", resolve));
    const address = `127.0.0.1:${(other.address() as AddressInfo).port}`;
    const { code, stderr } = await caisson(["worker"], {
      CAISSON_WORKER__ID: "worker-a",
      CAISSON_AUTH__WORKER_TOKEN: "a-token-of-the-configuration",
      CAISSON_WORKER__LISTEN_ADDR: address,
    });
    expect(code).toBe(5);
    expect(stderr).toContain(
      `caisson: Something else listens at ${address} already.\n  Stop it, or choose another port with worker.listen_addr.`,
    );
  } finally {
    other.close();
  }
});

it("says why no database can be reached, and where its address is", async () => {
  const env = { CAISSON_DATABASE__DRIVER: "postgres", CAISSON_DATABASE__DSN: DSN };
  const status = await caisson(["db", "status"], env);
  expect(status.code).toBe(8);
  expect(status.stderr).toContain("The database cannot be used now: no connection is to be had: ECONNREFUSED.\n");
  expect(status.stderr).toContain("database.dsn_file");
  const serve = await caisson(["serve"], { ...env, CAISSON_SERVER__PORT: "0" });
  expect(serve).toMatchObject({ code: 8, stdout: "", stderr: status.stderr });
  const copy = await caisson(["db", "copy", "--to-file", join(dir, "nothing")]);
  expect(copy).toMatchObject({ code: 2, stderr: expect.stringContaining("nothing cannot be read: ENOENT.") as string });
});

it("shows no password with the configuration", async () => {
  const { code, stdout } = await caisson(["config", "show"], { CAISSON_DATABASE__DRIVER: "postgres", CAISSON_DATABASE__DSN: DSN });
  expect(code).toBe(0);
  expect(stdout).toContain("dsn: (set)");
  expect(stdout).not.toContain("a-password-of-mine");
});

it("looks for a server that is down where the configuration has it", async () => {
  await writeFile(join(dir, "caisson.yaml"), "server: { host: 0.0.0.0, port: 2 }\n");
  const { code, stderr } = await caisson(["ls", "--config", join(dir, "caisson.yaml")]);
  expect(code).toBe(8);
  expect(stderr).toContain("No answer from http://127.0.0.1:2: ECONNREFUSED.");
});

it("takes an option of every command also before the last word", async () => {
  const { code, stderr } = await caisson(["worker", "--config", join(dir, "nowhere.yaml"), "identity"]);
  expect(code).toBe(2);
  expect(stderr).toContain("nowhere.yaml");
});

it("offers the address and key of a server only where one is asked", async () => {
  expect((await caisson(["workers", "ls", "--help"])).stdout).toContain("--url");
  for (const command of [["worker"], ["worker", "join"], ["worker", "identity"], ["db", "copy"], ["serve"], ["config", "check"]]) {
    const { stdout } = await caisson([...command, "--help"]);
    expect(stdout).toContain("--config");
    expect(stdout).not.toContain("--url");
  }
});
