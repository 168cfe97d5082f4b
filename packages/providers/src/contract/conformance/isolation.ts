import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { HostCanary } from "./host-canary.ts";
import { bytesOf, codeOf, collect, type Booted, type Subject } from "./subject.ts";

/** System call numbers that differ between machines. */
const CALLS =
  process.arch === "arm64" ? { bpf: 280, keyctl: 219, mount: 40, unshare: 97 } : { bpf: 321, keyctl: 250, mount: 165, unshare: 272 };

/** What a box must not see, reach or do. */
export function isolationCases(get: () => Subject): void {
  describe("isolation", () => {
    let canary: HostCanary;
    beforeAll(async () => {
      canary = await HostCanary.set(get().harness.dir === undefined ? [] : [get().harness.dir ?? ""]);
    });
    afterAll(() => canary.remove());

    const walled = async (context: TestContext): Promise<{ subject: Subject } & Booted> => {
      const subject = get();
      subject.needsWall(context);
      return { subject, ...(await subject.shared()) };
    };
    const perl = async (context: TestContext, subject: Subject, booted: Booted, script: string): Promise<string> => {
      const { out, exit, err } = await subject.run(booted.guest, { argv: ["perl", "-e", script] });
      context.skip(exit.code === 127, "the image has no perl to make system calls with");
      return out.toString() + err.toString();
    };

    it("hides the host's processes", async (context) => {
      const { subject, guest, ...rest } = await walled(context);
      const numbers = (await subject.text(guest, "ls /proc")).split("\n").filter((name) => /^\d+$/.test(name));
      expect(numbers.length).toBeLessThan(30);
      expect(numbers).toContain("1");
      expect(await subject.text(guest, "cat /proc/1/cmdline | tr '\\0' ' '")).toContain("caisson-agent");
      const all = await subject.text(guest, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '");
      expect(all).not.toContain("vitest");
      const { exit } = await subject.run(guest, `kill -0 ${process.pid}`);
      expect(numbers.includes(String(process.pid)) || exit.code !== 0).toBe(true);
      expect(rest.box.status).toBe("running");
    });

    it("hides the host's files", async (context) => {
      const { guest } = await walled(context);
      expect(canary.files.length).toBeGreaterThan(1);
      for (const path of canary.files) {
        expect([path, await codeOf(guest.stat(path))]).not.toEqual([path, "no error"]);
        for (const prefix of ["/..", "/proc/1/root", "/proc/self/root", "/proc/1/cwd/../.."])
          expect([prefix + path, await codeOf(guest.readFile(prefix + path))]).not.toEqual([prefix + path, "no error"]);
      }
      const found = guest.glob(`**/${canary.word}`, { cwd: "/" });
      expect(await found.next()).toMatchObject({ done: true });
    });

    it("does not follow its own links out", async (context) => {
      const { subject, guest } = await walled(context);
      const target = canary.files[0] ?? "/";
      await subject.text(guest, `ln -sf ${target} /tmp/escape; ln -sf /proc/1/root/../../.. /tmp/up`);
      expect(await codeOf(guest.readFile("/tmp/escape"))).toBe("file_not_found");
      expect(await codeOf(guest.readFile(`/tmp/up${target}`))).not.toBe("no error");
    });

    it("cannot reach the host's network or abstract sockets", async (context) => {
      const booted = await walled(context);
      const { subject, guest } = booted;
      expect(await codeOf(guest.dial({ network: "tcp", port: canary.port }))).toBe("connection_refused");
      const links = await subject.text(guest, "cat /proc/net/dev | tail -n +3 | cut -d: -f1");
      expect(links.split(/\s+/).filter((name) => name !== "" && name !== "lo")).toEqual([]);
      const script = `use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); print connect(S, pack("S a*", AF_UNIX, "\\0${canary.abstractName}")) ? "reached" : "refused"`;
      expect(await perl(context, subject, booted, script)).toContain("refused");
      expect(canary.connections).toBe(0);
    });

    it("cannot see or reach another box", async (context) => {
      const booted = await walled(context);
      const { subject, guest } = booted;
      const other = await subject.boot();
      await other.guest.writeFile("/tmp/others", bytesOf("x"));
      await other.guest.writeFile("/home/user/others", bytesOf("x"));
      await other.guest.spawn({ argv: ["sleep", "777.77"] });
      for (const path of ["/tmp/others", "/home/user/others"]) expect(await codeOf(guest.stat(path))).toBe("file_not_found");
      expect(await subject.text(guest, "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '")).not.toContain("777.77");
      const bind = `use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack("S a*", AF_UNIX, "\\0between-boxes")) or die; listen(S, 1); $|=1; print "up"; sleep 600`;
      const listener = await other.guest.exec({ argv: ["perl", "-e", bind] });
      const first = await listener[Symbol.asyncIterator]().next();
      context.skip(first.value?.type !== "output", "the image has no perl to make sockets with");
      const reach = `use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); print connect(S, pack("S a*", AF_UNIX, "\\0between-boxes")) ? "reached" : "refused"`;
      expect(await perl(context, subject, booted, reach)).toContain("refused");
      const ids = await subject.text(guest, "ls -d /proc/self/ns/* | while read n; do readlink $n; done");
      expect(ids).not.toBe(await subject.text(other.guest, "ls -d /proc/self/ns/* | while read n; do readlink $n; done"));
      await subject.destroy(other);
    });

    it("cannot reach its own agent's socket", async (context) => {
      const booted = await walled(context);
      const { subject, guest } = booted;
      const paths = (await subject.text(guest, "cut -d' ' -f8- /proc/net/unix | tail -n +2; find / -xdev -type s 2>/dev/null; true"))
        .split("\n")
        .map((path) => path.trim())
        .filter((path) => path.startsWith("/"));
      for (const path of new Set([...paths, "/run/caisson-host/agent.sock"])) {
        const dialled = await guest.dial({ network: "unix", path }).catch(() => undefined);
        if (dialled === undefined) continue;
        const said = await new Promise<string>((resolve) => {
          let text = "";
          dialled.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
          dialled.on("error", () => resolve(text)).on("end", () => resolve(text));
          // A whole hello: an agent that let us in would answer with its own.
          dialled.write(
            Buffer.from([
              0,
              0,
              0,
              30,
              0,
              0,
              0,
              0,
              1,
              0,
              0x83,
              0xa8,
              ...Buffer.from("protocol"),
              0x92,
              1,
              1,
              0xa5,
              ...Buffer.from("build"),
              0xa1,
              120,
              0xa8,
              ...Buffer.from("features"),
              0x90,
            ]),
          );
        });
        expect(said).not.toContain("protocol\x92");
      }
    });

    it("runs without privileges, filtered", async (context) => {
      const { subject, guest } = await walled(context);
      const status = await subject.text(guest, "cat /proc/self/status");
      const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "absent";
      expect(field("CapEff")).toMatch(/^0+$/);
      expect(field("CapPrm")).toMatch(/^0+$/);
      await subject.needsHostKernel(context);
      expect([field("NoNewPrivs"), field("Seccomp")]).toEqual(["1", "2"]);
    });

    it("hands no descriptor down but the three", async (context) => {
      const { subject, guest } = await walled(context);
      const names = (await subject.text(guest, { argv: ["ls", "/proc/self/fd"] })).trim().split(/\s+/);
      // The fourth is the one that ls itself reads the folder by.
      expect(names).toEqual(["0", "1", "2", "3"]);
    });

    it("refuses namespaces and mounts to the default user", async (context) => {
      const { subject, guest } = await walled(context);
      await subject.needsHostKernel(context);
      for (const argv of [
        ["unshare", "-Ur", "true"],
        ["mount", "-t", "tmpfs", "none", "/mnt"],
      ])
        expect([argv[0], (await subject.run(guest, { argv })).exit.code]).not.toEqual([argv[0], 0]);
    });

    it("refuses dangerous system calls, to root too", async (context) => {
      const booted = await walled(context);
      const { subject } = booted;
      await subject.needsHostKernel(context);
      const script = (call: number, args: string): string =>
        `$!=0; my $r = syscall(${call}, ${args}); print $r == -1 ? "refused $!{EPERM}$!{ENOSYS}$!{EACCES}" : "allowed $r"`;
      expect(await perl(context, subject, booted, script(CALLS.bpf, "0, 0, 0"))).toContain("refused");
      expect(await perl(context, subject, booted, script(CALLS.keyctl, "0, -3, 1"))).toContain("refused");
      expect(await perl(context, subject, booted, script(CALLS.unshare, "0x10000000"))).toContain("refused");
      expect(
        await perl(context, subject, booted, `my $n = "none"; my $t = "/tmp"; my $f = "tmpfs"; ${script(CALLS.mount, "$n, $t, $f, 0, 0")}`),
      ).toContain("refused");
      if (!subject.capabilities.users) return;
      const root = await subject.run(booted.guest, {
        argv: ["perl", "-e", `my $n = "none"; my $t = "/tmp"; my $f = "tmpfs"; ${script(CALLS.mount, "$n, $t, $f, 0, 0")}`],
        user: "root",
      });
      expect(root.out.toString()).toContain("refused");
    });

    it("has only harmless devices", async (context) => {
      const { subject, guest } = await walled(context);
      const entries = await collect(guest.listDir("/dev", { depth: 3 }));
      const usual = ["console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"];
      // a kernel of the box's own emulates these two for it; they lead nowhere else
      if (await subject.hasOwnKernel()) usual.push("fuse", "tun");
      const odd = entries.filter(
        (entry) => (entry.type === "char" || entry.type === "block") && !usual.includes(entry.name) && !entry.path.startsWith("/dev/pts/"),
      );
      expect(odd.map((entry) => entry.path)).toEqual([]);
      const user = subject.capabilities.users ? { user: "root" } : {};
      const { exit } = await subject.run(guest, { command: "mknod /tmp/sda b 8 0 && head -c 1 /tmp/sda", ...user });
      expect(exit.code).not.toBe(0);
    });

    it("cannot change the kernel's settings", async (context) => {
      const { subject, guest } = await walled(context);
      const user = subject.capabilities.users ? { user: "root" } : {};
      for (const path of [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/drop_caches",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
      ]) {
        const { exit } = await subject.run(guest, { argv: ["sh", "-c", `echo 1 > ${path}`], ...user });
        expect([path, exit.code]).not.toEqual([path, 0]);
      }
    });

    it("does not see where its control groups lie", async (context) => {
      const { subject, guest, spec } = await walled(context);
      const text = await subject.text(guest, "cat /proc/self/cgroup /proc/self/mountinfo 2>/dev/null; true");
      const cgroups = await subject.text(guest, "cat /proc/self/cgroup 2>/dev/null; true");
      expect(cgroups).not.toContain(spec.sandboxId);
      expect(text).not.toContain(canary.word);
    });

    it("keeps the image as it was for the next box", async (context) => {
      const subject = get();
      subject.needsWall(context);
      const user = subject.capabilities.users ? { user: "root" } : {};
      const first = await subject.boot();
      await subject.run(first.guest, {
        command: "echo changed > /etc/hostname; echo x > /usr/bin/planted; echo x > /home/user/planted; rm -f /etc/passwd",
        ...user,
      });
      const second = await subject.boot();
      for (const path of ["/usr/bin/planted", "/home/user/planted"]) expect(await codeOf(second.guest.stat(path))).toBe("file_not_found");
      expect((await second.guest.stat("/etc/passwd")).size).toBeGreaterThan(0);
      await subject.destroy(first);
      await subject.destroy(second);
    });
  });
}
