import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { isCaissonError, systemClock } from "@caisson/contract";
import { Link } from "@caisson/link";
import { agentBinary, AgentProcess } from "@caisson/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { GuestClient } from "./guest-client.ts";
import type { AttachedProcess, Exit, ProcessOutput } from "./guest.ts";

const binary = agentBinary();
if (binary === undefined && process.env["REQUIRE_AGENT"] === "1") throw new Error("The agent is not built: run scripts/build-agent.sh");

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

interface Drained {
  out: Buffer;
  err: Buffer;
  exit: Exit | undefined;
  gaps: ProcessOutput[];
}

async function drain(process: AttachedProcess): Promise<Drained> {
  const parts: { stdout: Uint8Array[]; stderr: Uint8Array[] } = { stdout: [], stderr: [] };
  const result: Drained = { out: Buffer.alloc(0), err: Buffer.alloc(0), exit: undefined, gaps: [] };
  const next = { stdout: -1, stderr: -1 };
  for await (const item of process) {
    if (item.type === "exit") result.exit = item.exit;
    else if (item.type === "gap") {
      result.gaps.push(item);
      next[item.stream] = item.to;
    } else {
      if (next[item.stream] >= 0 && next[item.stream] !== item.offset)
        throw new Error(`offset ${item.offset}, expected ${next[item.stream]}`);
      next[item.stream] = item.offset + item.bytes.length;
      parts[item.stream].push(item.bytes);
    }
  }
  return { ...result, out: Buffer.concat(parts.stdout), err: Buffer.concat(parts.stderr) };
}

async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (isCaissonError(error) ? error.code : String(error)),
  );
}

const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe.skipIf(binary === undefined)("the real agent", () => {
  let agent: AgentProcess;
  let link: Link;
  let guest: GuestClient;
  let dir: string;

  const dial = async (): Promise<Link> => new Link(await agent.connect(), { role: "dialler", clock: systemClock });

  beforeAll(async () => {
    agent = await AgentProcess.start(binary ?? "");
    link = await dial();
    guest = new GuestClient(link);
    dir = agent.folder;
  });
  afterAll(async () => {
    link.close();
    await agent.stop();
  });

  it("says hello", async () => {
    expect(await link.ready).toMatchObject({ version: 1 });
  });

  it("runs commands: output, exit codes, signals, what cannot be executed", async () => {
    const result = await drain(await guest.exec({ command: "echo out; echo err >&2; exit 3" }));
    expect([result.out.toString(), result.err.toString(), result.exit]).toMatchObject([
      "out\n",
      "err\n",
      { code: 3, signal: null, timedOut: false, stdoutBytes: 4, stderrBytes: 4 },
    ]);
    expect((await drain(await guest.exec({ argv: ["sh", "-c", "kill -KILL $$"] }))).exit).toMatchObject({ code: null, signal: "KILL" });
    expect((await drain(await guest.exec({ argv: ["nosuch-program"] }))).exit).toMatchObject({ code: 127 });
    expect((await drain(await guest.exec({ argv: ["/etc/passwd"] }))).exit).toMatchObject({ code: 126 });
    expect(await code(guest.exec({ argv: ["true"], cwd: "/nope" }))).toBe("file_not_found");
    expect(await code(guest.exec({ argv: ["true"], command: "true" }))).toBe("invalid_argument");
    expect(await code(guest.exec({ argv: ["true"], user: "nobody-of-this-name" }))).toBe("no_such_user");
  });

  it("passes stdin, env and cwd, and closes stdin", async () => {
    const process = await guest.exec({ argv: ["sh", "-c", "cat; echo $A; pwd"], env: { A: "é x" }, cwd: "/tmp", stdin: true });
    await process.write(Buffer.from("in\0put\n"));
    process.closeInput();
    expect((await drain(process)).out.toString()).toBe("in\0put\né x\n/tmp\n");
    expect((await drain(await guest.exec({ argv: ["cat"] }))).exit).toMatchObject({ code: 0 });
  });

  it("carries 16 MiB both ways byte-exact", async () => {
    const bytes = randomBytes(16 * 1_048_576);
    const process = await guest.exec({ argv: ["cat"], stdin: true });
    const sending = (async () => {
      for (let at = 0; at < bytes.length; at += 100_000) await process.write(bytes.subarray(at, at + 100_000));
      process.closeInput();
    })();
    const { out, exit } = await drain(process);
    await sending;
    expect([sha(out), exit?.code, exit?.stdoutBytes]).toEqual([sha(bytes), 0, bytes.length]);
  });

  it("lets processes live on without a link, and continues output at its offset", async () => {
    const other = await dial();
    const first = await new GuestClient(other).exec({ argv: ["sh", "-c", "echo one; read x; echo $x; read y; echo $y"], stdin: true });
    const iterator = first[Symbol.asyncIterator]();
    expect(await iterator.next()).toMatchObject({ value: { type: "output", offset: 0 } });
    other.close();
    expect(await code(iterator.next())).toBe("agent_unreachable");
    async function* text(line: string): AsyncGenerator<Uint8Array> {
      yield Buffer.from(line);
    }
    expect(await guest.writeInput(first.id, text("two\n"))).toBe(4);
    const second = await guest.attach(first.id, { stdoutOffset: 4 });
    const more = second[Symbol.asyncIterator]();
    expect(await more.next()).toMatchObject({ value: { type: "output", offset: 4, bytes: new TextEncoder().encode("two\n") } });
    await guest.writeInput(first.id, text("three\n"));
    expect(await more.next()).toMatchObject({ value: { type: "output", offset: 8 } });
    expect(await more.next()).toMatchObject({ value: { type: "exit", exit: { code: 0, stdoutBytes: 14 } } });
    const whole = await drain(await guest.attach(first.id, { follow: false }));
    expect([whole.out.toString(), whole.exit?.code]).toEqual(["one\ntwo\nthree\n", 0]);
    expect(await guest.session(first.id)).toMatchObject({ id: first.id, exit: { code: 0 }, stdout: { start: 0, end: 14 } });
    expect(await code(guest.attach(first.id, { stdoutOffset: 99 }))).toBe("invalid_argument");
    expect(await code(guest.attach(999_999))).toBe("process_not_found");
    expect(await code(guest.session(999_999))).toBe("process_not_found");
  });

  it("shows a gap where output was dropped, for a late reader", async () => {
    const { id } = await guest.spawn({ argv: ["sh", "-c", "head -c 1000000 /dev/zero"], outputLimit: 100_000 });
    await expect.poll(async () => (await guest.session(id)).exit).not.toBeNull();
    const result = await drain(await guest.attach(id));
    expect(result.exit).toMatchObject({ code: 0, stdoutBytes: 1_000_000 });
    const dropped = result.gaps.reduce((sum, gap) => sum + (gap.type === "gap" ? gap.to - gap.from : 0), 0);
    expect(dropped + result.out.length).toBe(1_000_000);
    expect([dropped, result.gaps[0]]).toMatchObject([900_000, { stream: "stdout", from: 0 }]);
  });

  it("holds a writer back while its reader waits", async () => {
    const process = await guest.exec({ argv: ["sh", "-c", "head -c 3000000 /dev/zero; echo done >&2"], outputLimit: 65_536 });
    const before = await guest.session(process.id);
    expect(before.stdout.end).toBeLessThan(1_500_000);
    const { out, err, gaps } = await drain(process);
    expect([out.length, err.toString(), gaps]).toEqual([3_000_000, "done\n", []]);
  });

  it("kills whole trees by signal and by timeout, daemons included", async () => {
    const marker = `31${process.pid}.5`;
    const daemon = `(setsid sh -c 'sleep ${marker} & sleep ${marker}' >/dev/null 2>&1 &) ; sleep ${marker}`;
    const timed = await drain(await guest.exec({ command: daemon, timeoutMs: 300 }));
    expect(timed.exit).toMatchObject({ signal: "KILL", timedOut: true });
    const { id } = await guest.spawn({ command: daemon });
    expect(await guest.kill(id, { signal: "KILL" })).toBeGreaterThan(0);
    await drain(await guest.attach(id));
    const left = await drain(await guest.exec({ argv: ["sh", "-c", `ps -eo args | grep '[s]leep ${marker}' | wc -l`] }));
    expect(left.out.toString().trim()).toBe("0");
  });

  it("ends the process with its connection when asked to", async () => {
    const other = await dial();
    const process = await new GuestClient(other).exec({ argv: ["sleep", "600"], killOnDisconnect: true });
    other.close();
    const { exit } = await drain(await guest.attach(process.id));
    expect(exit).toMatchObject({ signal: "KILL" });
  });

  it("speaks to a terminal", async () => {
    const process = await guest.exec({
      argv: ["sh", "-c", "stty size; read x; stty size; echo got $x"],
      pty: { cols: 91, rows: 27 },
      stdin: true,
    });
    let text = "";
    let answered = false;
    for await (const item of process) {
      if (item.type === "output") text += Buffer.from(item.bytes).toString();
      // The end of a line may come by itself.
      if (answered || !text.endsWith("\n")) continue;
      answered = true;
      await guest.resize(process.id, 100, 30);
      await process.write(Buffer.from("hey\n"));
    }
    expect(text).toBe("27 91\r\nhey\r\n30 100\r\ngot hey\r\n");
  });

  it("reads, writes, lists, globs, moves, changes and removes files", async () => {
    const bytes = randomBytes(3_000_000);
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 70_000) yield bytes.subarray(at, at + 70_000);
    }
    const path = join(dir, "a/b/file.bin");
    expect(await guest.writeFile(path, source(), { mode: 0o640 })).toMatchObject({
      path,
      name: "file.bin",
      type: "file",
      size: bytes.length,
      mode: 0o640,
    });
    const file = await guest.readFile(path);
    expect([sha(Buffer.concat(await all(file.content))), file.entry.size]).toEqual([sha(bytes), bytes.length]);
    const part = await guest.readFile(path, { offset: 1_000_000, length: 5 });
    expect(Buffer.concat(await all(part.content))).toEqual(bytes.subarray(1_000_000, 1_000_005));
    expect((await all((await guest.readFile(path, { offset: 9_000_000 })).content)).length).toBe(0);
    expect(await guest.makeDir(join(dir, "a/c"))).toBe(true);
    expect(await guest.makeDir(join(dir, "a/c"))).toBe(false);
    await guest.move(path, join(dir, "a/c/moved"));
    expect(await code(guest.move(join(dir, "a/c/moved"), join(dir, "a/b"), { overwrite: false }))).toBe("already_exists");
    await guest.chmod(join(dir, "a/c/moved"), 0o600);
    expect((await guest.stat(join(dir, "a/c/moved"))).mode).toBe(0o600);
    const listed = await all(guest.listDir(join(dir, "a"), { depth: 2 }));
    expect(listed.map((entry) => entry.path.slice(dir.length)).sort()).toEqual(["/a/b", "/a/c", "/a/c/moved"]);
    const glob = guest.glob("**/mov*", { cwd: dir });
    const first = await glob.next();
    expect(first.value).toMatchObject({ path: join(dir, "a/c/moved") });
    expect(await glob.next()).toEqual({ done: true, value: { truncated: false } });
    expect(await code(guest.remove(join(dir, "a")))).toBe("not_empty");
    await guest.remove(join(dir, "a"), { recursive: true });
    expect(await code(guest.stat(join(dir, "a")))).toBe("file_not_found");
    expect(await code(guest.stat("relative"))).toBe("invalid_argument");
    expect(await code(guest.stat(`/${"x".repeat(5000)}`))).toBe("invalid_argument");
    expect(await code(all(guest.listDir("/etc/passwd")))).toBe("not_a_directory");
  });

  it("leaves nothing of a write whose source fails, and stops one that is refused", async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(500_000);
      throw new Error("source broke");
    }
    await expect(guest.writeFile(join(dir, "w/half"), failing())).rejects.toThrow("source broke");
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield Buffer.alloc(65_536);
    }
    expect(await code(guest.writeFile("/", endless()))).toBe("is_a_directory");
    expect(await code(guest.writeFile("/proc/nope/x", endless()))).not.toBe("no error");
    await expect.poll(async () => (await all(guest.listDir(join(dir, "w")))).length).toBe(0);
  });

  it("dials a port with half-close and reports a refusal", async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let size = 0;
      socket.on("data", (chunk) => (size += chunk.length));
      socket.on("end", () => socket.end(`got ${size}`));
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const stream = await guest.dial({ network: "tcp", port });
    stream.end(Buffer.alloc(2_000_000));
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    expect(text).toBe("got 2000000");
    server.close();
    await once(server, "close");
    expect(await code(guest.dial({ network: "tcp", port }))).toBe("connection_refused");
    expect(await code(guest.dial({ network: "unix", path: join(dir, "none") }))).toBe("file_not_found");
  });

  it("tells its figures and answers unknown methods and fields", async () => {
    expect(await guest.stats()).toMatchObject({ processes: expect.any(Number), diskTotal: expect.any(Number) });
    expect(await code(link.open("Nope", {}, { noInput: true }).reply)).not.toBe("no error");
    expect(await code(link.open("Stat", { path: "/", shiny: 1 }, { noInput: true }).reply)).toBe("invalid_argument");
    expect(link.reason).toBeUndefined();
  });

  it("runs 300 short commands at once without losing a byte", async () => {
    const results = await Promise.all(
      Array.from({ length: 300 }, async (_, i) => drain(await guest.exec({ argv: ["sh", "-c", `echo line ${i}; exit ${i % 7}`] }))),
    );
    results.forEach((result, i) => expect([result.out.toString(), result.exit?.code]).toEqual([`line ${i}\n`, i % 7]));
    expect(link.openChannels).toBe(0);
  });
});
