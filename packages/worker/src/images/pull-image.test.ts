import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@caisson/contract";
import { freePort } from "@caisson/testkit";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { removeTree } from "../durable/remove-tree.ts";
import { ImageStore, type ImageStoreOptions } from "./image-store.ts";

/** Why these tests cannot run here; undefined when they can. */
function missing(): string | undefined {
  const programs = ["skopeo", "umoci", "docker-registry"].filter((name) => spawnSync("which", [name]).status !== 0);
  if (!existsSync("/bin/busybox")) programs.push("busybox");
  if (programs.length > 0) return `not installed: ${programs.join(", ")}`;
  return process.getuid?.() === 0 ? undefined : "needs root to keep the owners of an image";
}

const reason = missing();
if (reason !== undefined && process.env["REQUIRE_IMAGES"] !== "1") process.stderr.write(`skipping pulls from a registry: ${reason}\n`);
if (reason !== undefined && process.env["REQUIRE_IMAGES"] === "1") throw new Error(`REQUIRE_IMAGES is set, but: ${reason}`);

let base = "";
let dir = "";
let address = "";
let registry: ChildProcess | undefined;
let images: ImageStore;

const open = (options: Partial<ImageStoreOptions> = {}): ImageStore =>
  new ImageStore({ dir: join(dir, "images"), clock: systemClock, log: () => undefined, insecureRegistries: [address], ...options });

function run(program: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

/** Makes an image of busybox with these settings and pushes it. */
async function push(name: string, greeting: string, ...config: readonly string[]): Promise<void> {
  const work = await mkdtemp(join(base, "make-"));
  const layout = join(work, "layout");
  run("umoci", "init", "--layout", layout);
  run("umoci", "new", "--image", `${layout}:it`);
  run("umoci", "unpack", "--image", `${layout}:it`, join(work, "bundle"));
  const root = join(work, "bundle/rootfs");
  await mkdir(join(root, "bin"), { recursive: true });
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  const script =
    'ln -s busybox "$1/bin/sh" && mkdir "$1/etc" && echo "$2" >"$1/etc/motd" && chown 1000:1000 "$1/etc/motd" && mknod -m 666 "$1/disk" b 7 0 && mkfifo "$1/pipe"';
  run("sh", "-ec", script, "sh", root, greeting);
  run("umoci", "repack", "--image", `${layout}:it`, join(work, "bundle"));
  run("umoci", "config", "--image", `${layout}:it`, ...config);
  run("skopeo", "copy", "--dest-tls-verify=false", `oci:${layout}:it`, `docker://${address}/${name}`);
}

describe.skipIf(reason !== undefined)("pulls from a real registry on loopback", () => {
  beforeAll(async () => {
    base = await mkdtemp(join(tmpdir(), "caisson-registry-"));
    address = `127.0.0.1:${await freePort()}`;
    const config = { version: "0.1", storage: { filesystem: { rootdirectory: join(base, "data") } }, http: { addr: address } };
    await writeFile(join(base, "config.yml"), JSON.stringify(config));
    registry = spawn("docker-registry", ["serve", join(base, "config.yml")], { stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    await new Promise<void>((resolve, reject) => {
      registry?.stderr?.setEncoding("utf8").on("data", (text: string) => {
        said += text;
        if (said.includes("listening on")) resolve();
      });
      registry?.once("exit", (status) => reject(new Error(`the registry ended with ${status}`)));
    });
    await push("team/app:1", "hello", "--config.user", "1000:1000", "--config.env", "GREETING=hi=there", "--config.workingdir", "/etc");
  });
  afterAll(async () => {
    if (registry?.exitCode === null && registry.kill()) await once(registry, "exit");
    await removeTree(base);
  });
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "caisson-pull-"));
    images = open();
  });
  afterEach(() => removeTree(dir));

  test("an image with its owners and defaults, without its devices", async () => {
    const image = await images.pull(`${address}/team/app:1`);
    expect(image).toMatchObject({ name: `${address}/team/app:1`, source: "registry", user: "1000:1000", workdir: "/etc", sandboxes: 0 });
    const { rootfs, digest, defaults } = await images.resolve(`${address}/team/app:1`);
    expect(digest).toBe(image.digest);
    expect(defaults).toMatchObject({ user: "1000:1000", workdir: "/etc", env: { GREETING: "hi=there" } });
    if (rootfs.kind !== "folder") throw new Error("not a folder");
    expect(rootfs.owner).toBe("root");
    expect((await readdir(rootfs.path)).sort()).toEqual(["bin", "etc"]);
    expect(await readlink(join(rootfs.path, "bin/sh"))).toBe("busybox");
    expect(spawnSync("chroot", [rootfs.path, "/bin/sh", "-c", "read a </etc/motd; echo $a"], { encoding: "utf8" }).stdout).toBe("hello\n");
    const stat = spawnSync("stat", ["-c", "%u:%g", join(rootfs.path, "etc/motd")], { encoding: "utf8" });
    expect(stat.stdout).toBe("1000:1000\n");
    expect(image.size_bytes).toBe((await readFile("/bin/busybox")).byteLength + "hello\n".length);
    expect(await readdir(join(dir, "images/staging"))).toEqual([]);
  });

  test("is pulled by a start that names it, once for all who want it", async () => {
    const wanted = await Promise.all([1, 2, 3].map((n) => images.use(`${address}/team/app:1`, `sb${n}`)));
    expect(new Set(wanted.map(({ content }) => content)).size).toBe(1);
    expect((await images.list())[1]).toMatchObject({ sandboxes: 3 });
    expect(await readdir(join(dir, "images/trees"))).toHaveLength(1);
    await expect(images.remove(`${address}/team/app:1`)).rejects.toMatchObject({ code: "image_in_use" });
  });

  test("asks the registry again only when forced, and by digest gets what it names", async () => {
    await push("team/moving:1", "one", "--config.user", "root");
    const one = await images.pull(`${address}/team/moving:1`);
    await push("team/moving:1", "two", "--config.user", "root");
    expect((await images.pull(`${address}/team/moving:1`)).digest).toBe(one.digest);
    const two = await images.pull(`${address}/team/moving:1`, { force: true });
    expect(two.digest).not.toBe(one.digest);
    expect(await readdir(join(dir, "images/trees"))).toHaveLength(1);
    expect((await images.pull(`${address}/team/moving@${one.digest}`)).digest).toBe(one.digest);
  });

  test("says why not, and leaves nothing", async () => {
    await expect(images.pull(`${address}/team/none:1`)).rejects.toMatchObject({
      code: "image_not_found",
      message: expect.stringContaining("manifest") as string,
    });
    await expect(open({ insecureRegistries: [] }).pull(`${address}/team/app:1`)).rejects.toMatchObject({ code: "image_not_found" });
    for (const reference of ["--help", "a b", "UPPER/case:1", "x@sha256:short"])
      await expect(images.pull(reference)).rejects.toMatchObject({ code: "invalid_request" });
    const programs = { skopeo: "no-such-program", umoci: "umoci" };
    await expect(open({ programs }).pull(`${address}/team/app:1`)).rejects.toMatchObject({
      code: "unsupported",
      detail: { program: "no-such-program" },
    });
    await expect(open({ pullDeadlineMs: 1 }).pull(`${address}/team/app:1`)).rejects.toMatchObject({ code: "deadline_exceeded" });
    const controller = new AbortController();
    const pulling = images.pull(`${address}/team/app:1`, { signal: controller.signal });
    controller.abort();
    await expect(pulling).rejects.toMatchObject({ code: "cancelled" });
    await images.sweep();
    expect(await readdir(join(dir, "images/trees"))).toEqual([]);
    expect((await images.list()).map(({ name }) => name)).toEqual(["host"]);
  });

  test("names a full disk", async () => {
    await mkdir(join(dir, "images"));
    run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", join(dir, "images"));
    try {
      await expect(images.pull(`${address}/team/app:1`)).rejects.toMatchObject({ code: "no_space" });
      expect(await readdir(join(dir, "images/staging"))).toEqual([]);
    } finally {
      run("umount", join(dir, "images"));
    }
  });
});
