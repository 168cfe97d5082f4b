import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProviderReport, Sandbox } from "@caisson/contract";
import { tracesOf } from "../tests/harness/machine.ts";
import { TestServer } from "../tests/harness/server.ts";

/*
 * Compares Caisson with the tools below it, interleaved in one run on one machine: wall times as medians over rounds, the
 * 99th percentile beside them, and ratios. Absolute times depend on the machine and its noise; the ratios are the result.
 */

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 30);
const EXEC_ROUNDS = ROUNDS * 10;

interface Series {
  readonly name: string;
  readonly times: number[];
}

const series = (name: string): Series => ({ name, times: [] });

function quantile(times: readonly number[], q: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

async function timed(into: Series, run: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await run();
  into.times.push(performance.now() - start);
}

function report(title: string, base: Series, others: readonly Series[]): void {
  console.log(`\n${title}`);
  console.log(`  ${"".padEnd(38)} ${"p50 ms".padStart(9)} ${"p99 ms".padStart(9)} ${"min ms".padStart(9)} ${"ratio".padStart(7)}`);
  for (const one of [base, ...others]) {
    if (one.times.length === 0) continue;
    const cells = [quantile(one.times, 0.5), quantile(one.times, 0.99), Math.min(...one.times)].map((ms) => ms.toFixed(2).padStart(9));
    const ratio = one === base ? "1" : (quantile(one.times, 0.5) / quantile(base.times, 0.5)).toFixed(2);
    console.log(`  ${one.name.padEnd(38)} ${cells.join(" ")} ${ratio.padStart(7)}`);
  }
}

/** Runs a program to its end; fails when it failed. */
async function bare(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.resume();
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${code}`);
}

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

async function main(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "caisson-bench-"));
  chmodSync(scratch, 0o711); // runc enters its user namespace before it reaches the root file system
  await using server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
  try {
    const { items } = await server.json<{ items: ProviderReport[] }>("GET", "/providers");
    const works = (provider: string, runtime?: string): boolean =>
      items.some(
        (one) =>
          one.name === provider && one.available && (runtime === undefined || one.runtimes.some((r) => r.name === runtime && r.available)),
      );
    console.log(
      `Caisson benchmark: ${ROUNDS} rounds, interleaved; Node ${process.version}; load ${readFileSync("/proc/loadavg", "utf8").split(" ")[0]} at the start`,
    );

    const create = (provider: string, runtime?: string): Promise<Sandbox> =>
      server.json<Sandbox>("POST", "/sandboxes", { provider, ...(runtime === undefined ? {} : { runtime }) });
    const exec = (id: string, command: string, args: readonly string[]): Promise<unknown> =>
      server.json("POST", `/sandboxes/${id}/exec`, { command, args });

    for (const runtime of ["crun", "runc"].filter((name) => works("oci", name))) {
      const bundle = makeBundle(scratch, runtime);
      await compareColdStart(
        `oci with ${runtime}`,
        `${runtime} run, bare`,
        async (round) => {
          const [program = "", ...args] = runtimeCommand(runtime, ["--root", join(scratch, "state"), "run", "-b", bundle, `bench${round}`]);
          await bare(program, args);
        },
        () => create("oci", runtime),
        exec,
        server,
      );
    }
    if (works("bubblewrap")) {
      const wall = [
        "--unshare-all",
        "--die-with-parent",
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--tmpfs",
        "/tmp",
      ];
      await compareColdStart(
        "bubblewrap",
        "bwrap, bare",
        () => bare("bwrap", [...wall, "/bin/echo", "hello"]),
        () => create("bubblewrap"),
        exec,
        server,
      );
    }
    await compareExec(server, exec);
    await idleMemory(server);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function compareColdStart(
  title: string,
  floorName: string,
  floor: (round: number) => Promise<void>,
  create: () => Promise<Sandbox>,
  exec: (id: string, command: string, args: readonly string[]) => Promise<unknown>,
  server: TestServer,
): Promise<void> {
  const base = series(floorName);
  const cold = series("Caisson: create + first output, HTTP");
  const destroy = series("Caisson: destroy, HTTP");
  for (let round = -3; round < ROUNDS; round += 1) {
    const keep = round >= 0;
    await timed(keep ? base : series(""), () => floor(round + 3));
    let id = "";
    await timed(keep ? cold : series(""), async () => {
      id = (await create()).id;
      await exec(id, "/bin/echo", ["hello"]);
    });
    await timed(keep ? destroy : series(""), () => server.json("DELETE", `/sandboxes/${id}`));
  }
  report(`Cold create to first output, and destroy: ${title}`, base, [cold, destroy]);
}

async function compareExec(
  server: TestServer,
  exec: (id: string, command: string, args: readonly string[]) => Promise<unknown>,
): Promise<void> {
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const raw = series("fork + exec /bin/true, from Python");
  const node = series("spawn /bin/true, from Node");
  const http = series("Caisson: exec /bin/true, HTTP");
  const forks = `import os,time
for _ in range(${EXEC_ROUNDS}):
    t=time.perf_counter(); p=os.posix_spawn("/bin/true",["true"],{}); os.waitpid(p,0); print((time.perf_counter()-t)*1000)`;
  raw.times.push(...spawnSync("python3", ["-c", forks], { encoding: "utf8" }).stdout.trim().split("\n").map(Number));
  for (let round = 0; round < EXEC_ROUNDS; round += 1) {
    await timed(node, () => bare("/bin/true", []));
    await timed(http, () => exec(sandbox.id, "/bin/true", []));
  }
  report(`Exec round trip (${sandbox.provider}${sandbox.runtime === null ? "" : ` with ${sandbox.runtime}`})`, raw, [node, http]);
  console.log(
    `  added over fork + exec: p50 ${(quantile(http.times, 0.5) - quantile(raw.times, 0.5)).toFixed(2)} ms, p99 ${(quantile(http.times, 0.99) - quantile(raw.times, 0.99)).toFixed(2)} ms`,
  );
  await server.json("DELETE", `/sandboxes/${sandbox.id}`);
}

/** Proportional set size of a process in KiB. */
function pss(pid: string): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0; // it ended between the listing and the look
  }
}

async function idleMemory(server: TestServer): Promise<void> {
  const count = 50;
  const serverBefore = pss(String(server.pid));
  const sandboxes = await Promise.all(Array.from({ length: count }, () => server.json<Sandbox>("POST", "/sandboxes", {})));
  await Promise.all(sandboxes.map((sandbox) => server.json("POST", `/sandboxes/${sandbox.id}/exec`, { command: "true" })));
  const pids = (
    await tracesOf(
      server.dataDir,
      sandboxes.map((sandbox) => sandbox.id),
    )
  )
    .flatMap((trace) => /^process (\d+) /.exec(trace)?.[1] ?? [])
    .filter((pid) => pid !== String(server.pid));
  const boxes = pids.reduce((sum, pid) => sum + pss(pid), 0);
  const growth = pss(String(server.pid)) - serverBefore;
  console.log(`\nIdle memory per sandbox, ${count} idle ones, proportional set size, shared pages divided`);
  console.log(`  processes of the sandbox (${(pids.length / count).toFixed(1)} each)    ${(boxes / count / 1024).toFixed(2)} MiB`);
  console.log(`  growth of the server                   ${(growth / count / 1024).toFixed(2)} MiB`);
  await Promise.all(sandboxes.map((sandbox) => server.json("DELETE", `/sandboxes/${sandbox.id}`)));
}

await main();
