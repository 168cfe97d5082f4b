import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProviderReport, Sandbox } from "@caisson/contract";
import type { TestServer } from "../tests/harness/server.ts";
import { bare, report, series, timed } from "./measure.ts";

/** A new sandbox to its first output, against the technology below it run by itself. */
export async function compareColdStarts(server: TestServer, rounds: number): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "caisson-bench-"));
  chmodSync(scratch, 0o711); // runc enters its user namespace before it reaches the root file system
  try {
    const { items } = await server.json<{ items: ProviderReport[] }>("GET", "/providers");
    const works = (provider: string, runtime?: string): boolean =>
      items.some(
        (one) =>
          one.name === provider && one.available && (runtime === undefined || one.runtimes.some((r) => r.name === runtime && r.available)),
      );
    for (const runtime of ["crun", "runc"].filter((name) => works("oci", name))) {
      const bundle = makeBundle(scratch, runtime);
      const floor = async (round: number): Promise<void> => {
        const [program = "", ...args] = runtimeCommand(runtime, ["--root", join(scratch, "state"), "run", "-b", bundle, `bench${round}`]);
        await bare(program, args);
      };
      await compareColdStart(server, rounds, `oci with ${runtime}`, [`${runtime} run, bare`, floor], { provider: "oci", runtime });
    }
    if (works("bubblewrap")) {
      const floor = async (): Promise<void> => void (await bare("bwrap", [...WALL, "/bin/echo", "hello"]));
      await compareColdStart(server, rounds, "bubblewrap", ["bwrap, bare", floor], { provider: "bubblewrap" });
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function compareColdStart(
  server: TestServer,
  rounds: number,
  title: string,
  [floorName, floor]: readonly [string, (round: number) => Promise<void>],
  spec: object,
): Promise<void> {
  const base = series(floorName);
  const cold = series("Caisson: create + first output, HTTP");
  const destroy = series("Caisson: destroy, HTTP");
  for (let round = -3; round < rounds; round += 1) {
    const keep = round >= 0;
    await timed(keep ? base : series(""), () => floor(round + 3));
    let id = "";
    await timed(keep ? cold : series(""), async () => {
      id = (await server.json<Sandbox>("POST", "/sandboxes", spec)).id;
      await server.json("POST", `/sandboxes/${id}/exec`, { command: "/bin/echo", args: ["hello"] });
    });
    await timed(keep ? destroy : series(""), () => server.json("DELETE", `/sandboxes/${id}`));
  }
  report(`Cold create to first output, and destroy: ${title}`, base, [cold, destroy]);
}

/** What `bwrap` is run with by itself. */
const WALL = "--unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib"
  .split(" ")
  .concat("--symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp".split(" "));

/** A minimal bundle that prints one word, for a runtime run by itself: the floor of `oci`. */
function makeBundle(folder: string, runtime: string): string {
  const bundle = join(folder, `bundle-${runtime}`);
  mkdirSync(join(bundle, "rootfs/usr"), { recursive: true });
  for (const name of ["proc", "dev", "sys", "tmp"]) mkdirSync(join(bundle, "rootfs", name));
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    if (existsSync(`/${name}`)) execFileSync("ln", ["-s", `usr/${name}`, join(bundle, "rootfs", name)]);
  }
  const config = {
    ociVersion: "1.0.2",
    process: {
      user: { uid: 0, gid: 0 },
      args: ["/bin/echo", "hello"],
      env: ["PATH=/usr/bin:/bin"],
      cwd: "/",
      noNewPrivileges: true,
      capabilities: { bounding: [], effective: [], permitted: [] },
    },
    root: { path: "rootfs", readonly: false },
    mounts: [
      { destination: "/usr", type: "bind", source: "/usr", options: ["rbind", "ro"] },
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
    ],
    linux: {
      namespaces: ["pid", "mount", "ipc", "uts", "network", "user"].map((type) => ({ type })),
      uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
      gidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
    },
  };
  execFileSync("chown", ["-R", "100000:100000", join(bundle, "rootfs")]);
  writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
  return bundle;
}

/** crun refuses hybrid control groups unless the second hierarchy is out of its sight. */
function runtimeCommand(runtime: string, args: readonly string[]): readonly string[] {
  const hidden = existsSync("/sys/fs/cgroup/unified") && runtime === "crun";
  return hidden ? ["unshare", "-m", "sh", "-c", 'umount /sys/fs/cgroup/unified; exec "$@"', "sh", runtime, ...args] : [runtime, ...args];
}
