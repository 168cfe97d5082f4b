import { VirtualClock } from "@caisson/testkit";
import { GuestClient, type AttachedProcess, type Exit } from "@caisson/guest";
import { Link } from "@caisson/link";
import { describe, expect, it } from "vitest";
import { MockMachine } from "./mock-machine.ts";
import { MockProvider } from "./mock-provider.ts";

const clock = new VirtualClock();
const machine = new MockMachine(clock);
const provider = new MockProvider(machine, { clock, log: () => undefined });

async function client(): Promise<GuestClient> {
  const box = await provider.start({
    sandboxId: "sbshell",
    epoch: 1,
    rootfs: { kind: "host", skeleton: "/" },
    resources: {},
    env: { BASE: "b" },
    hostname: "mock",
    network: "none",
  });
  return new GuestClient(new Link(await provider.connect(box.handle), { role: "dialler", clock }), clock);
}

async function drain(process: AttachedProcess): Promise<{ out: string; err: string; exit: Exit }> {
  let out = "";
  let err = "";
  for await (const item of process) {
    if (item.type === "exit") return { out, err, exit: item.exit };
    if (item.type === "output" && item.stream === "stdout") out += Buffer.from(item.bytes).toString();
    if (item.type === "output" && item.stream === "stderr") err += Buffer.from(item.bytes).toString();
  }
  throw new Error("no exit");
}

describe("the mock's shell", () => {
  it.each([
    ["echo a b; echo -n c", "a b\nc", 0],
    ["true && echo yes || echo no", "yes\n", 0],
    ["false && echo yes || echo no", "no\n", 0],
    ["false; echo $?", "1\n", 0],
    ["! false; echo $?", "0\n", 0],
    ["exit 7; echo never", "", 7],
    ["(exit 3); echo $?", "3\n", 0],
    ["A=1; B='x y'; echo $A \"$B\" ${A}$B '$A'", "1 x y 1x y $A\n", 0],
    ["A='x  y'; echo $A; echo \"$A\"", "x y\nx  y\n", 0],
    ["X=1 env | head -n 0; X=2 printenv X; echo ${X}.", "2\n.\n", 0],
    ["echo one two | cat | wc -c", "8\n", 0],
    ["yes | head -2", "y\ny\n", 0],
    ["yes | head -c 5 | wc -c; echo $?", "5\n0\n", 0],
    ["seq 3 | tr '\\n' ,", "1,2,3,", 0],
    ["seq 2 2 6", "2\n4\n6\n", 0],
    ["printf '%s-%03d|' a 7 b 8", "a-007|b-008|", 0],
    ["printf '\\x41\\102\\n'", "AB\n", 0],
    ["cd /tmp && pwd; cd ..; pwd", "/tmp\n/\n", 0],
    ["mkdir -p /tmp/d/e && echo x > /tmp/d/f && echo y >> /tmp/d/f && cat < /tmp/d/f; ls /tmp/d; rm -r /tmp/d; ls /tmp", "x\ny\ne\nf\n", 0],
    ["cat /nope 2>&1 | head -1", "cat: /nope: No such file or directory\n", 0],
    ["echo hi > /tmp/o 2>&1; ln -s o /tmp/l; cat /tmp/l; readlink /tmp/l; rm /tmp/o /tmp/l", "hi\no\n", 0],
    ["sh -c 'echo $0 $1' a b", "a b\n", 0],
    ["export V=1; sh -c 'echo $V'; unset V; sh -c 'echo .$V'", "1\n.\n", 0],
    ["[ -d /tmp ] && [ ! = ! ] && test -f /etc/passwd && echo ok", "ok\n", 0],
    ["touch /etc/x 2>/dev/null; echo $?; id -u; whoami", "1\n1000\nuser\n", 0],
    ["echo $BASE $HOME # comment", "b /home/user\n", 0],
    ["nosuch", "", 127],
    ["/etc/passwd", "", 126],
    ["fail 9 oh dear", "", 9],
    ["printf '#!/bin/sh\\necho from $1\\n' > /tmp/s; chmod 755 /tmp/s; /tmp/s file; rm /tmp/s", "from file\n", 0],
    ["echo 'a' \"b\" \\c; echo a;echo b", "a b c\na\nb\n", 0],
  ])("%s", async (command, out, code) => {
    const result = await drain(await (await client()).exec({ command }));
    expect({ out: result.out, code: result.exit.code }).toEqual({ out, code });
  });

  it.each(["echo 'open", "a | ", "( echo", "echo $(date)", "sleep 1 &", "echo > "])("refuses %s as a syntax error", async (command) => {
    const result = await drain(await (await client()).exec({ command }));
    expect(result.exit.code).toBe(2);
    expect(result.err).toContain("Syntax error");
  });

  it("sleeps by the clock, is killed by signals and by its timeout, and may ignore TERM", async () => {
    const guest = await client();
    const slept = drain(await guest.exec({ command: "sleep 2.5; echo done" }));
    await clock.advance(2500);
    expect(await slept).toMatchObject({ out: "done\n", exit: { code: 0, durationMs: 2500 } });
    const late = drain(await guest.exec({ command: "echo a; sleep 100", timeoutMs: 300 }));
    await clock.advance(300);
    expect(await late).toMatchObject({ out: "a\n", exit: { code: null, signal: "KILL", timedOut: true, durationMs: 300 } });
    const stubborn = await guest.spawn({ command: "trap '' TERM; sleep 100" });
    await clock.advance(0);
    expect(await guest.kill(stubborn.id)).toBe(1);
    expect((await guest.session(stubborn.id)).exit).toBeNull();
    await guest.kill(stubborn.id, { signal: "KILL" });
    expect((await guest.session(stubborn.id)).exit).toMatchObject({ signal: "KILL", code: null });
    expect(await drain(await guest.exec({ command: "kill -9 $$; echo never" }))).toMatchObject({ out: "", exit: { signal: "KILL" } });
    expect(
      await drain(await guest.exec({ command: "yes > /dev/null", timeoutMs: 50 }).finally(() => void clock.advance(60))),
    ).toMatchObject({
      exit: { signal: "KILL", timedOut: true },
    });
    expect(clock.pending).toBe(0);
  });

  it("runs scripted commands, and listeners by port", async () => {
    machine.commands.set("agent", async ({ io, args }) => {
      await io.stdout.write(Buffer.from(`agent ${args.join("+")}`));
      return 5;
    });
    machine.ports.set(80, async (stream) => {
      for await (const chunk of stream) await stream.write(Buffer.from(Buffer.from(chunk).toString().toUpperCase()));
      stream.end();
    });
    const guest = await client();
    expect(await drain(await guest.exec({ argv: ["agent", "a", "b"] }))).toMatchObject({ out: "agent a+b", exit: { code: 5 } });
    const stream = await guest.dial({ network: "tcp", port: 80 });
    stream.end("hello");
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    expect(text).toBe("HELLO");
    await expect(guest.dial({ network: "tcp", port: 81 })).rejects.toMatchObject({ code: "connection_refused" });
    expect(await guest.ports()).toEqual([{ port: 80, address: "0.0.0.0", pid: null, command: null, user: null }]);
  });
});
