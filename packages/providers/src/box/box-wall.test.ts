import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Handle } from "../contract/provider.ts";
import { isRequired, RealBoxes, WAYS } from "../testing/real-boxes.ts";

/** Each promise about the wall, and a command that must show it. `root` runs as root of the box. */
const PROMISES: readonly {
  readonly promise: string;
  readonly command: string;
  readonly shows: RegExp;
  readonly root?: true;
  readonly except?: string;
}[] = [
  { promise: "only the box's own processes are seen", command: "ls /proc | grep -c '^[0-9]'", shows: /^[1-9]\n$/ },
  { promise: "no new privileges", command: "grep NoNewPrivs /proc/self/status", shows: /\t1$/m, except: "runsc" },
  { promise: "the system-call filter is on", command: "grep '^Seccomp:' /proc/self/status", shows: /\t2$/m, except: "runsc" },
  { promise: "the default user has no capability", command: "grep CapEff /proc/self/status", shows: /\t0+$/m },
  {
    promise: "root of the box lacks the great capabilities",
    command: "grep CapEff /proc/self/status",
    shows: /\t00000000000405fb$/m,
    root: true,
  },
  { promise: "no network but loopback", command: "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '", shows: /^lo\n$/ },
  {
    promise: "loopback is up",
    command: "python3 -c \"import socket as s; l=s.create_server(('127.0.0.1',0)); s.create_connection(l.getsockname()); print('up')\"",
    shows: /^up$/m,
  },
  { promise: "the host name is the box's", command: "cat /proc/sys/kernel/hostname", shows: /^box$/m },
  {
    promise: "kernel settings are read-only",
    command: "for f in kernel/hostname vm/swappiness net/ipv4/ip_forward; do echo 1 > /proc/sys/$f && echo WROTE; done; true",
    shows: /^(?!.*WROTE)/s,
    root: true,
    except: "runsc",
  },
  {
    promise: "no device but the harmless",
    command: "find /dev -type b -o -type c | grep -vE '^/dev/(null|zero|full|random|urandom|tty|ptmx|console|fuse|net/tun|pts/.*)$'; true",
    shows: /^$/,
  },
  {
    promise: "no device of the machine can be made and read",
    command:
      "for n in '8 0' '254 0' '259 0'; do rm -f /tmp/d; mknod /tmp/d b $n 2> /dev/null; head -c 1 /tmp/d 2> /dev/null | wc -c; done | sort -u",
    shows: /^0\n$/,
    root: true,
  },
  {
    promise: "nothing can be mounted",
    command: "mkdir -p /tmp/m; mount -t tmpfs none /tmp/m 2> /dev/null && echo MOUNTED; true",
    shows: /^$/,
    root: true,
  },
  {
    promise: "no further namespace can be made",
    command: "unshare -Ur true 2> /dev/null && echo MADE; true",
    shows: /^$/,
    except: "runsc",
  },
  {
    promise: "no descriptor leaks in",
    command: "for f in /proc/self/fd/*; do readlink $f; done | grep -vE '^(/dev/null|pipe:|/proc/.*/fd|host:)' ; true",
    shows: /^$/,
  },
  { promise: "the agent's descriptors are closed to its children", command: "ls /proc/self/fd | wc -l", shows: /^4\n$/ },
  {
    promise: "kernel memory and keys are masked",
    command: "cat /proc/kcore /proc/keys /proc/kmsg 2> /dev/null | head -c 16",
    shows: /^$/,
    root: true,
  },
  {
    promise: "sysfs cannot be written",
    command: "test -w /sys/kernel && echo WRITABLE; touch /sys/x 2> /dev/null && echo WROTE; true",
    shows: /^$/,
  },
  { promise: "control groups show no path of the machine", command: "cut -d: -f3 /proc/self/cgroup | sort -u", shows: /^\/\n$/ },
  {
    promise: "no folder of the machine is there",
    command: "ls -d /work /var/lib/docker /boot /lost+found /home/*/.ssh 2> /dev/null; true",
    shows: /^$/,
  },
  { promise: "the machine's users are unknown", command: "stat -c %u:%g / /usr /usr/bin | sort -u", shows: /^0:0\n$/ },
  {
    promise: "the machine's files are copied on write",
    command: "echo x > /usr/bin/caisson-wall-test && rm /usr/bin/env && echo done",
    shows: /^done$/m,
    root: true,
  },
  {
    promise: "the socket of the agent has no name inside",
    command: "find / -xdev -name 'agent.sock' 2> /dev/null; ls /run/caisson-host 2> /dev/null; true",
    shows: /^$/,
    root: true,
  },
  { promise: "the kernel log is closed", command: "dmesg 2> /dev/null | head -c 16", shows: /^$/, except: "runsc" },
  {
    promise: "tracing the agent is impossible",
    command: "cat /proc/1/environ 2> /dev/null | head -c 16; ls -l /proc/1/fd/3 2> /dev/null | grep socket; true",
    shows: /^$/,
    except: "runsc",
  },
  {
    promise: "the agent's memory cannot be read",
    command: "dd if=/proc/1/mem bs=1 count=1 skip=$((0x$(cut -c1-12 /proc/self/maps | head -n 1 | cut -d- -f1))) 2> /dev/null | wc -c",
    shows: /^0\n$/,
  },
];

describe.each(WAYS)("the wall of %s", (way) => {
  const boxes = new RealBoxes(way);
  let obstacle: string | undefined;
  let handle: Handle;

  beforeAll(async () => {
    obstacle = await boxes.obstacle();
    if (obstacle !== undefined && isRequired(way)) throw new Error(`${way} is required: ${obstacle}`);
    if (obstacle === undefined) handle = (await boxes.start("sbwall", 1)).handle;
  });
  afterAll(() => boxes.close());

  it.for(PROMISES)("$promise", async ({ command, shows, root, except }, { skip }) => {
    skip(obstacle !== undefined, obstacle);
    skip(except === boxes.runtime, "gVisor's own kernel answers here");
    const said = await boxes.run(handle, { command, ...(root === true ? { user: "root" } : {}) });
    expect(said.text).toMatch(shows);
  });
});
