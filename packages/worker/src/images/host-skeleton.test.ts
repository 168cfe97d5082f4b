import { execFile } from "node:child_process";
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { removeTree } from "../durable/remove-tree.ts";
import { ensureHostSkeleton } from "./host-skeleton.ts";

const run = promisify(execFile);
let dir = "";
const options = (machine?: string) => ({
  dir: join(dir, "host"),
  staging: join(dir, "staging"),
  ...(machine === undefined ? {} : { machine }),
});

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-skeleton-"));
  await mkdir(join(dir, "staging"));
});
afterEach(() => removeTree(dir));

/** A small machine of our own, so that what is copied can be told exactly. */
async function fakeMachine(): Promise<string> {
  const machine = join(dir, "machine");
  for (const folder of ["usr/bin", "usr/lib", "etc/ssl/certs", "etc/ssl/private", "etc/alternatives", "etc/ssh", "home/alice"])
    await mkdir(join(machine, folder), { recursive: true });
  for (const [name, target] of [
    ["bin", "usr/bin"],
    ["lib", "/usr/lib"],
  ] as const)
    await symlink(target, join(machine, name));
  await writeFile(join(machine, "etc/shadow"), "root:secret-hash:1::::::\n");
  await writeFile(join(machine, "etc/hostname"), "secret-host\n");
  await writeFile(join(machine, "etc/machine-id"), "secret-id\n");
  await writeFile(join(machine, "etc/ssh/ssh_host_key"), "secret-key\n");
  await writeFile(join(machine, "etc/ssl/private/a.pem"), "secret-pem\n");
  await writeFile(join(machine, "etc/ssl/certs/private-by-mistake.pem"), "secret-mode\n");
  await chmod(join(machine, "etc/ssl/certs/private-by-mistake.pem"), 0o600);
  await writeFile(join(machine, "etc/ssl/certs/ca.pem"), "public\n");
  await symlink("/usr/bin/mawk", join(machine, "etc/alternatives/awk"));
  return machine;
}

test("has the links, users and folders that programs need, and no secret of the machine", async () => {
  const { path } = await ensureHostSkeleton(options(await fakeMachine()));
  expect(await readlink(join(path, "bin"))).toBe("usr/bin");
  expect(await readlink(join(path, "lib"))).toBe("usr/lib");
  expect(await readdir(path)).not.toContain("lib64");
  expect(await readFile(join(path, "etc/passwd"), "utf8")).toMatch(/^user:x:1000:1000:user:\/home\/user:\/bin\/sh$/m);
  expect(await readFile(join(path, "etc/ssl/certs/ca.pem"), "utf8")).toBe("public\n");
  expect(await readlink(join(path, "etc/alternatives/awk"))).toBe("/usr/bin/mawk");
  expect((await stat(join(path, "tmp"))).mode & 0o7777).toBe(0o1777);
  const { stdout } = await run("grep", ["-r", "secret", path]).catch((error: { code: number; stdout: string }) => error);
  expect(stdout).toBe("");
});

test("is made once, and anew when the machine changes", async () => {
  const machine = await fakeMachine();
  const [first, beside] = await Promise.all([ensureHostSkeleton(options(machine)), ensureHostSkeleton(options(machine))]);
  expect(beside).toEqual(first);
  const made = (await lstat(first.path)).ctimeMs;
  expect((await ensureHostSkeleton(options(machine))).path).toBe(first.path);
  expect((await lstat(first.path)).ctimeMs).toBe(made);
  await symlink("/usr/bin/vim", join(machine, "etc/alternatives/editor"));
  const later = await ensureHostSkeleton(options(machine));
  expect(later.path).not.toBe(first.path);
  expect(await readdir(join(dir, "host"))).toHaveLength(2);
  expect(await readdir(join(dir, "staging"))).toEqual([]);
});

test("refuses a machine whose /bin is no link into /usr", async () => {
  const machine = join(dir, "split");
  await mkdir(join(machine, "bin"), { recursive: true });
  await expect(ensureHostSkeleton(options(machine))).rejects.toMatchObject({ code: "unsupported" });
});

const isRoot = process.getuid?.() === 0;
test.skipIf(!isRoot)("runs this machine's programs as its user (needs root for chroot)", async () => {
  const { path } = await ensureHostSkeleton(options());
  expect((await stat(join(path, "home/user"))).uid).toBe(1000);
  expect((await stat(join(path, "etc/passwd"))).uid).toBe(0);
  // A mount namespace of its own: /usr is bound below the skeleton and vanishes with the process.
  const script =
    'mount --rbind /usr "$1/usr" && exec chroot --userspec=user "$1" /bin/sh -c "awk \'BEGIN{print 6*7}\'; id -un; cat /etc/hostname"';
  const { stdout } = await run("unshare", ["-m", "sh", "-c", script, "sh", path]);
  expect(stdout).toBe("42\nuser\nsandbox\n");
});
