import { existsSync } from "node:fs";
import { mkdtemp, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId, systemClock, systemRandom, type ProviderReport, type SandboxRef, type StartSandbox } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { bubblewrapProvider, ociProvider, type Provider, type ProviderContext } from "@caisson/providers";
import { pack } from "tar-stream";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { removeTree } from "../durable/remove-tree.ts";
import { AGENT } from "../fixtures/process-provider.ts";
import { ImageStore } from "../images/image-store.ts";
import { LocalHost } from "./local-host.ts";

const required = (process.env["REQUIRE_PROVIDERS"] ?? "").split(",");
let dir = "";
const log = (): void => undefined;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "caisson-boxes-"));
});
afterAll(() => removeTree(dir));

function open(name: "oci" | "bubblewrap"): LocalHost {
  const make: (context: ProviderContext) => Provider = name === "oci" ? ociProvider : bubblewrapProvider;
  const dataDir = join(dir, name);
  const shared = { clock: systemClock, random: systemRandom, log };
  const provider = make({ dir: join(dataDir, "boxes", name), agentPath: AGENT, ...shared });
  const images = new ImageStore({ dir: join(dataDir, "images"), ...shared });
  return new LocalHost({ workerId: "local", dataDir, providers: [provider], images, ...shared });
}

/** What a command printed. */
async function output(host: LocalHost, ref: SandboxRef, command: string): Promise<string> {
  let text = "";
  for await (const said of await new GuestClient(host.guest(ref)).exec({ command })) {
    if (said.type === "output") text += Buffer.from(said.bytes).toString("utf8");
    if (said.type === "exit") text += `[${said.exit.code}]`;
  }
  return text;
}

/** An image with nothing but busybox. */
async function* busyboxArchive(): AsyncGenerator<Uint8Array> {
  const archive = pack();
  archive.entry({ name: "bin/busybox", mode: 0o755 }, await readFile("/bin/busybox"));
  archive.entry({ name: "bin/sh", type: "symlink", linkname: "busybox" });
  for (const name of ["proc", "sys", "dev", "tmp", "etc"]) archive.entry({ name, type: "directory", mode: 0o755 });
  archive.entry({ name: "etc/passwd", mode: 0o644 }, "root:x:0:0:root:/:/bin/sh\n");
  archive.entry({ name: "etc/motd", mode: 0o644, uid: 33, gid: 44 }, "from the archive\n");
  archive.finalize();
  yield* archive as AsyncIterable<Uint8Array>;
}

const newBox = (provider: string, image: string): StartSandbox => {
  const sandboxId = newId("sandbox", Date.now(), systemRandom);
  return { sandboxId, epoch: 1, provider, image, resources: {}, env: { FROM: "host" }, network: "none" };
};

describe.each(["oci", "bubblewrap"] as const)("boxes of %s", (name) => {
  let host: LocalHost;
  let report: ProviderReport | undefined;
  /** Skips with the reason where the provider, or a part of it, does not work here. */
  const need = (context: TestContext, missing: string | undefined): void => {
    if (missing !== undefined && required.includes(name)) throw new Error(`${name} is required, but: ${missing}`);
    context.skip(missing !== undefined, `${name}: ${missing}`);
  };
  const reason = (): string | undefined => (report?.available === true ? undefined : (report?.reason ?? "not probed"));

  beforeAll(async () => {
    host = open(name);
    await host.open();
    report = (await host.describe()).providers[0];
  });
  afterAll(async () => {
    for (const box of await host.inventory()) await host.destroy(box);
    await host.close();
  });

  test("run the machine's programs, and outlive the host", async (context) => {
    need(context, reason());
    const box = await host.start(newBox(name, "host"));
    expect(await output(host, box, 'echo "$FROM"; id -un; pwd; awk "BEGIN{print 6*7}"; cat /etc/hostname')).toBe(
      "host\nuser\n/home/user\n42\nsandbox\n[0]",
    );
    await host.close();
    host = open(name);
    expect(await host.inventory()).toEqual([box]);
    expect(await output(host, box, "echo still")).toBe("still\n[0]");
    await host.destroy(box);
    expect(await host.inventory()).toEqual([]);
  });

  test("run an imported image, which none of them changes", async (context) => {
    need(context, reason() ?? report?.limits?.images ?? (existsSync("/bin/busybox") ? undefined : "busybox-static is not installed"));
    await host.images.importArchive("tiny", busyboxArchive());
    const box = await host.start({ ...newBox(name, "tiny"), workdir: "/tmp" });
    // Without the machine's root every file and process is the one user's.
    const [owner, self] = report?.capabilities.users === true ? ["33:44", "0"] : ["1000:1000", "1000"];
    expect(await output(host, box, "pwd; cat /etc/motd; busybox stat -c %u:%g /etc/motd; echo more >>/etc/motd; busybox id -u")).toBe(
      `/tmp\nfrom the archive\n${owner}\n${self}\n[0]`,
    );
    await expect(host.images.remove("tiny")).rejects.toMatchObject({ code: "image_in_use" });
    const { rootfs } = await host.images.resolve("tiny");
    expect(await readFile(join("path" in rootfs ? rootfs.path : "", "etc/motd"), "utf8")).toBe("from the archive\n");
    await host.destroy(box);
    await host.images.remove("tiny");
  });
});
