import { createHash } from "node:crypto";
import { lstat, mkdtemp, readdir, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExecResult, ProviderReport, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

/** Rounds of every file call against every place. */
const ROUNDS = 2;
/** What must never come out of the host. */
const SECRET = "canary-0d1f6b7e-never-leaves-the-host";

/**
 * Swaps folders and files for links in place, without a pause: a folder for a symlink to a folder of the host, a file for a
 * symlink to a file of the host and for a hard link, and a folder out of its parent and back. Counts its swaps.
 */
const SWAPPER = `
import ctypes, os, sys, time
places = sys.argv[2:]
libc = ctypes.CDLL(None, use_errno=True)
def exchange(a, b):
    return libc.renameat2(-100, a.encode(), -100, b.encode(), 2)
home = sys.argv[1]
os.makedirs(home, exist_ok=True)
os.chdir(home)
pairs = []
for i, place in enumerate(places):
    os.makedirs(f"d{i}/sub", exist_ok=True)
    for name in ("d%d/canary.txt" % i, "d%d/sub/inner.txt" % i, "f%d" % i):
        open(name, "w").write("inside")
    os.symlink(place, f"l{i}")
    os.symlink(place + "/canary.txt", f"g{i}")
    os.link(f"f{i}", f"h{i}")
    pairs += [(f"d{i}", f"l{i}"), (f"f{i}", f"g{i}"), (f"f{i}", f"h{i}")]
os.makedirs("out", exist_ok=True)
swaps = 0
end = time.time() + 900
while time.time() < end:
    for a, b in pairs:
        if exchange(a, b) == 0:
            swaps += 1
        else:
            # The file calls move and remove things: what is missing is made again.
            for name in (a, b):
                try:
                    if not os.path.lexists(name):
                        i = int(name[1:])
                        if name[0] == "d":
                            os.makedirs(f"{name}/sub")
                            open(f"{name}/canary.txt", "w").write("inside")
                        elif name[0] == "l": os.symlink(places[i], name)
                        elif name[0] == "g": os.symlink(places[i] + "/canary.txt", name)
                        else: open(name, "w").write("inside")
                except OSError:
                    pass
    try:
        os.rename("d0/sub", "out/sub"); os.rename("out/sub", "d0/sub")
    except OSError:
        pass
    if swaps % 500 < len(pairs):
        # A file that is written takes the place of a link; that link is put back.
        for i, place in enumerate(places):
            if not (os.path.islink(f"f{i}") or os.path.islink(f"g{i}") or os.path.islink(f"h{i}")):
                try:
                    os.symlink(place + "/canary.txt", "new"); os.rename("new", f"g{i}")
                except OSError:
                    pass
        open("/tmp/swaps.new", "w").write(str(swaps))
        os.rename("/tmp/swaps.new", "/tmp/swaps")
`;

let server: TestServer;
let canary: string;
let providers: readonly string[];

beforeAll(async () => {
  server = await TestServer.start();
  const { items: reports } = await server.json<{ items: ProviderReport[] }>("GET", "/providers");
  providers = reports.filter((one) => one.available).map((one) => one.name);
  canary = await realpath(await mkdtemp(join(tmpdir(), "caisson-canary-")));
  await mkdir(join(canary, "sub"));
  for (const name of ["canary.txt", "sub/inner.txt"]) await writeFile(join(canary, name), SECRET, { mode: 0o666 });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(canary, { recursive: true, force: true });
});

/** Everything of the host that a call could have reached: content, place, rights, owners and times. */
async function hostState(): Promise<Record<string, string>> {
  const state: Record<string, string> = {};
  const note = async (path: string): Promise<void> => {
    const found = await lstat(path, { bigint: true });
    const names = found.isDirectory() ? (await readdir(path)).toSorted().join() : "";
    const hash = found.isFile()
      ? createHash("sha256")
          .update(await readFile(path))
          .digest("hex")
      : names;
    state[path] = [found.ino, found.mode, found.uid, found.gid, found.nlink, found.size, found.mtimeNs, found.ctimeNs, hash].join(" ");
  };
  for (const path of [canary, `${canary}/sub`, `${canary}/canary.txt`, `${canary}/sub/inner.txt`]) await note(path);
  for (const path of ["/etc/passwd", "/etc/hosts", `${server.dataDir}/credentials.json`, `${server.dataDir}/caisson.db`])
    await note(path).catch(() => undefined); // a plain user may not see all of them, before and after
  return state;
}

/** One call of each kind at a place that changes under it; as the default user, then as root of the sandbox. */
function calls(i: number, round: number, user: string | undefined, outside: boolean): [method: string, path: string, body?: unknown][] {
  const at = (path: string): string => `/home/user/race/${path}`;
  const as = user === undefined ? {} : { user };
  const query = (path: string, more: Record<string, string> = {}): string =>
    new URLSearchParams({ path: at(path), ...as, ...more }).toString();
  const whole: [string, string, unknown?][] = [
    ["POST", "/files/chmod", { path: at(`d${i}`), mode: "0777", recursive: true, ...as }],
    ["POST", "/files/chown", { path: at(`d${i}`), owner: "user", recursive: true }],
    ["GET", `/files/archive?${query(`d${i}`)}`],
    ["POST", "/files/search", { path: at(`d${i}`), pattern: "canary", ...as }],
    ["POST", "/files/replace", { path: at(`d${i}`), pattern: "canary|inside", replacement: "replaced", ...as }],
  ];
  return [
    ["GET", `/files?${query(`d${i}/canary.txt`)}`],
    ["GET", `/files?${query(`d${i}/sub/inner.txt`)}`],
    ["GET", `/files?${query(`f${i}`)}`],
    ["GET", `/files/stat?${query(`d${i}/canary.txt`)}`],
    ["GET", `/files/list?${query(`d${i}`, { depth: "2" })}`],
    ["GET", `/files/glob?${new URLSearchParams({ pattern: `d${i}/**`, cwd: at(""), ...as }).toString()}`],
    ["POST", "/files", { path: at(`d${i}/canary.txt`), content: "overwritten", ...as }],
    ["POST", "/files", { path: at(`f${i}`), content: "overwritten", ...as }],
    ["POST", "/files", { path: at(`d${i}/new-${round}`), content: "new", ...as }],
    ["POST", "/files/mkdir", { path: at(`d${i}/made-${round}`), ...as }],
    ["POST", "/files/chmod", { path: at(`f${i}`), mode: "0600", ...as }],
    ["POST", "/files/move", { old_path: at(`d${i}/canary.txt`), new_path: at(`d${i}/moved`), overwrite: true, ...as }],
    ["POST", "/files/move", { old_path: at(`d${i}/moved`), new_path: at(`d${i}/canary.txt`), overwrite: true, ...as }],
    ["DELETE", `/files?${query(`d${i}/sub`, { recursive: "true" })}`],
    ["DELETE", `/files?${query(`d${i}/canary.txt`)}`],
    ["GET", `/files/xattrs?${query(`d${i}/canary.txt`)}`],
    ["POST", "/uploads", { path: at(`d${i}/upload-${round}`), size: 0, ...as }],
    // These go through all there is: where a link leads to the sandbox's own root, that would be the sandbox.
    ...(outside ? whole : []),
  ];
}

describe.each(["oci", "bubblewrap"])("%s", (provider) => {
  it("no file call reaches the host, whatever is swapped under it", { timeout: 600_000 }, async ({ skip }) => {
    skip(!providers.includes(provider), `${provider} does not work here`);
    const sandbox = await server.json<Sandbox>("POST", "/sandboxes", { provider });
    const exec = (body: object): Promise<ExecResult> => server.json<ExecResult>("POST", `/sandboxes/${sandbox.id}/exec`, body);
    const places = [canary, "/etc", "/proc/1/root", `/proc/1/root${canary}`, "/proc/self/root/../../..", server.dataDir, "/root"];
    const before = await hostState();
    await exec({ command: "python3", args: ["-c", SWAPPER, "/home/user/race", ...places], background: true });
    const swaps = async (): Promise<number> => Number((await exec({ command: "cat /tmp/swaps 2>/dev/null || echo 0" })).stdout);
    while ((await swaps()) === 0);
    const users = process.getuid?.() === 0 ? [undefined, "root"] : [undefined];
    const outcomes = new Map<string, Set<number>>();
    const watches = await Promise.all(places.map((_place, i) => watch(sandbox, `/home/user/race/d${i}`)));
    const call = async ([method, path, body]: [string, string, unknown?]): Promise<void> => {
      const response = await server.fetch(method, `/sandboxes/${sandbox.id}${path}`, body);
      // What changes while it is sent may end the answer early; it was read as far as it came.
      let text = "";
      try {
        for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString("latin1");
      } catch {
        expect(method).toBe("GET");
      }
      const name = `${method} ${path.split("?", 1)[0]}`;
      outcomes.set(name, (outcomes.get(name) ?? new Set()).add(response.status));
      if (text.includes(SECRET)) throw new Error(`${method} ${path} showed a file of the host`);
      if (response.status === 500 && text.includes('"internal"')) throw new Error(`${method} ${path}: ${text}`);
    };
    const start = await swaps();
    for (let round = 0; round < ROUNDS; round += 1)
      for (const user of users)
        await Promise.all(
          places.map(async (place, i) => {
            for (const one of calls(i, round, user, place === canary || place.endsWith(canary) || place === server.dataDir))
              await call(one);
          }),
        );
    // It was a race: there were swaps all the while, and calls met both sides of them.
    expect((await swaps()) - start).toBeGreaterThan(1_000);
    const met = (name: string): number[] => [...(outcomes.get(name) ?? [])];
    expect(met("GET /files")).toEqual(expect.arrayContaining([200, 404]));
    expect(met("POST /files")).toContain(200);
    expect(met("POST /files/move")).toContain(204);
    for (const text of await Promise.all(watches.map((one) => one.stop()))) expect(text).not.toContain(SECRET);
    expect(await hostState()).toEqual(before);
    expect((await server.fetch("DELETE", `/sandboxes/${sandbox.id}`)).status).toBe(200);
    // Removing what it left behind follows no link either.
    expect(await hostState()).toEqual(before);
  });

  it("root of the sandbox cannot mount, nor change what is mounted", async ({ skip }) => {
    skip(!providers.includes(provider) || process.getuid?.() !== 0, `${provider} with root of a sandbox does not work here`);
    const sandbox = await server.json<Sandbox>("POST", "/sandboxes", { provider });
    const exec = (command: string): Promise<ExecResult> =>
      server.json<ExecResult>("POST", `/sandboxes/${sandbox.id}/exec`, { command, user: "root" });
    const table = (await exec("cat /proc/self/mountinfo")).stdout;
    const attempts = [
      "mount -t tmpfs none /mnt",
      "mount --bind /etc /mnt",
      "mount -o remount,rw /usr",
      "mount --make-rshared /",
      "umount -l /proc",
      "unshare -m true",
      "unshare -Urm true",
      "pivot_root / /mnt",
      // fsopen, open_tree, move_mount, mount_setattr: by number, where programs have no name for them.
      ...[430, 428, 429, 442].map(
        (call) => `python3 -c "import ctypes,sys; sys.exit(0 if ctypes.CDLL(None).syscall(${call}, -100, b'/', 1, 0, 0) >= 0 else 1)"`,
      ),
    ];
    for (const command of attempts) {
      const { exit_code } = await exec(command);
      expect([command, exit_code]).toEqual([command, expect.not.toSatisfy((code: number) => code === 0)]);
    }
    expect((await exec("cat /proc/self/mountinfo")).stdout).toBe(table);
    await server.fetch("DELETE", `/sandboxes/${sandbox.id}`);
  });
});

/** Watches a folder until it is stopped; what it was told comes out then. */
async function watch(sandbox: Sandbox, path: string): Promise<{ stop(): Promise<string> }> {
  const stop = new AbortController();
  const response = await server.fetch(
    "GET",
    `/sandboxes/${sandbox.id}/files/watch?recursive=true&path=${encodeURIComponent(path)}`,
    undefined,
    {
      signal: stop.signal,
    },
  );
  let text = "";
  const reading = (async () => {
    for await (const chunk of response.body ?? []) text = (text + Buffer.from(chunk).toString()).slice(-1_000_000);
  })().catch(() => undefined);
  return {
    stop: async () => {
      stop.abort();
      await reading;
      return text;
    },
  };
}
