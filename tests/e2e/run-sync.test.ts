import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { TestServer } from "../harness/server.ts";

const CLI = join(import.meta.dirname, "../../packages/cli/bin/caisson.mjs");
let server: TestServer;
let outside: string;
let folder: string;

beforeAll(async () => {
  server = await TestServer.start();
});
afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  outside = await mkdtemp(join(tmpdir(), "caisson-sync-test-"));
  folder = join(outside, "folder");
  await mkdir(join(folder, "src"), { recursive: true });
  await writeFile(join(outside, "secret.txt"), "secret");
  await writeFile(join(folder, "keep.txt"), "keep");
  await writeFile(join(folder, "src/a b.txt"), "old");
  await writeFile(join(folder, "gone.txt"), "gone");
});
afterEach(() => rm(outside, { recursive: true, force: true }));

/** Runs a shell line on a copy of the folder. */
function runSync(
  line: string,
  options: readonly string[] = [],
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    const args = [CLI, "run", "--sync", folder, ...options, "--", "sh", "-c", line];
    const child = execFile(process.execPath, args, { env: server.cliEnv }, (_error, stdout, stderr) =>
      resolve({ status: child.exitCode ?? -1, stdout, stderr }),
    );
    child.stdin?.end();
  });
}

async function tree(): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isDirectory()) found[path.slice(folder.length + 1)] = entry.isFile() ? await readFile(path, "utf8") : "no file";
  }
  return found;
}

describe("caisson run --sync", () => {
  test("works on a copy and brings back what changed, deletions too", async () => {
    await mkdir(join(folder, ".git"));
    await writeFile(join(folder, ".git/config"), "mine");
    const line =
      "test ! -e .git && cat 'src/a b.txt' && echo new >'src/a b.txt' && mkdir -p made/deep && echo made >made/deep/x && rm gone.txt && mkdir .git && echo theirs >.git/config; exit 3";
    const { status, stdout, stderr } = await runSync(line);
    expect([status, stdout]).toEqual([3, "old"]);
    expect(stderr.split("\n")).toEqual(["D gone.txt", "A made/deep/x", "M src/a b.txt", "caisson: 3 changes were brought back", ""]);
    expect(await tree()).toEqual({ ".git/config": "mine", "keep.txt": "keep", "made/deep/x": "made\n", "src/a b.txt": "new\n" });
  });

  test("leaves named names alone, and says what is no file", async () => {
    await symlink("/etc/passwd", join(folder, "link"));
    expect(await runSync("ls; echo x >gone.txt", ["--exclude", "gone.txt"])).toMatchObject({
      status: 0,
      stdout: "keep.txt\nsrc\n",
      stderr: expect.stringContaining("- link is no file or folder; it stays here") as unknown,
    });
    expect(await tree()).toMatchObject({ "gone.txt": "gone", link: "no file" });
  });

  test("a hostile program reaches nothing outside the folder", async () => {
    const line = [
      `rm -rf src && ln -s ${outside} src`,
      `rm keep.txt && ln -s ${outside}/secret.txt keep.txt`,
      `ln -s ${outside} way && ln -s .. up && mkfifo pipe`,
      "echo '../../evil' >'..evil' && printf x >\"$(printf 'esc\\033[2Jname')\"",
      "chmod 4755 gone.txt && ln gone.txt hard",
    ].join(" && ");
    const { status, stderr } = await runSync(line);
    expect(status).toBe(0);
    expect(stderr).not.toContain("\u001b");
    expect((await readdir(outside)).toSorted()).toEqual(["folder", "secret.txt"]);
    expect(await readFile(join(outside, "secret.txt"), "utf8")).toBe("secret");
    const after = await tree();
    expect(after).toMatchObject({ "keep.txt": "keep", "src/a b.txt": "old", "gone.txt": "gone", hard: "gone", "..evil": "../../evil\n" });
    expect(Object.values(after)).not.toContain("no file");
  });

  test("what changed here meanwhile stays, and the sandbox's version is put beside it", async () => {
    // The program waits until the files here have changed.
    const running = runSync("echo theirs >keep.txt; rm gone.txt; echo ready >ready; until test -e /tmp/go; do sleep 0.05; done");
    const deadline = Date.now() + 120_000;
    for (let id: string | undefined; Date.now() < deadline;) {
      const { items } = await server.json<{ items: { id: string }[] }>("GET", "/sandboxes");
      id = items[0]?.id;
      const home = id === undefined ? undefined : await server.fetch("GET", `/sandboxes/${id}/files/stat?path=/home/user/work/ready`);
      if (home?.ok !== true) continue;
      await writeFile(join(folder, "keep.txt"), "mine");
      await writeFile(join(folder, "gone.txt"), "mine");
      await server.json("POST", `/sandboxes/${id}/exec`, { command: "touch /tmp/go" });
      break;
    }
    const { stderr } = await running;
    expect(stderr).toContain("C keep.txt changed here, too; the sandbox's version is keep.txt.sandbox");
    expect(stderr).toContain("C gone.txt was deleted in the sandbox, but changed here; it stays");
    expect(await tree()).toMatchObject({ "keep.txt": "mine", "keep.txt.sandbox": "theirs\n", "gone.txt": "mine" });
  });

  test("a folder that is not there is a mistake", async () => {
    await rm(folder, { recursive: true });
    expect(await runSync("true")).toMatchObject({ status: 125, stderr: expect.stringContaining("is no folder") as unknown });
  });
});
