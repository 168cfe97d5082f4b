import { spawnSync } from "node:child_process";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { randomBytes } from "node:crypto";
import { systemClock, TABLE_FORMAT, type CodeLanguage, type CodeOutcome } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { localGuest, type LocalGuest } from "../testing/local-guest.ts";
import { collectCode } from "./answer-code.ts";
import { contextTag, startContext, type LiveContext } from "./code-contexts.ts";
import { runCode, type CodeEvent, type CodeRun } from "./run-code.ts";

const never = new AbortController().signal;

/** Frees what nobody holds. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** Contexts of this machine's own interpreters. */
class Bench {
  readonly #guest: LocalGuest;

  constructor(guest: LocalGuest) {
    this.#guest = guest;
  }

  start(language: CodeLanguage, env: Record<string, string> = {}): Promise<LiveContext> {
    return startContext(this.#guest, { language, tag: contextTag(language), env }, {});
  }

  of(context: LiveContext, code: string, options: Partial<CodeRun> = {}): CodeRun {
    const executionId = randomBytes(16).toString("hex");
    return { context, executionId, code, timeoutMs: 20_000, waitMs: 10_000, graceMs: 5_000, clock: systemClock, ...options };
  }

  run(context: LiveContext, code: string, options: Partial<CodeRun> = {}): Promise<CodeOutcome> {
    const run = this.of(context, code, options);
    return collectCode(run, runCode(this.#guest, run, never));
  }

  events(context: LiveContext, code: string): AsyncGenerator<CodeEvent> {
    return runCode(this.#guest, this.of(context, code), never);
  }

  interrupt(context: LiveContext): Promise<number> {
    return this.#guest.kill(context.id, { signal: "INT", scope: "group" });
  }

  /** Runs code that says `ready` before it waits, and interrupts it then. */
  async interrupted(context: LiveContext, code: string): Promise<CodeOutcome> {
    const run = this.of(context, code);
    const source = runCode(this.#guest, run, never);
    // Again and again, as a person does: a program that a shell just starts misses the signal.
    let again: NodeJS.Timeout | undefined;
    const interrupt = (): void => void (again ??= setInterval(() => void this.interrupt(context), 500));
    async function* watched(): AsyncGenerator<CodeEvent> {
      for await (const event of source) {
        if (event.type === "output" && Buffer.from(event.bytes).toString().includes("ready")) interrupt();
        if (event.type === "end") clearInterval(again);
        yield event;
      }
    }
    return collectCode(run, watched());
  }

  /** Runs code, and interrupts it once: when it begins, or at its first output. */
  interruptedOnce(context: LiveContext, code: string, at: "start" | "output"): Promise<CodeOutcome> {
    const run = this.of(context, code);
    const source = runCode(this.#guest, run, never);
    const interrupt = (): Promise<number> => this.interrupt(context);
    async function* watched(): AsyncGenerator<CodeEvent> {
      let told = false;
      for await (const event of source) {
        if (event.type === at && !told) {
          told = true;
          await interrupt();
        }
        yield event;
      }
    }
    return collectCode(run, watched());
  }
}

let folder: string;
let guest: LocalGuest;
let bench: Bench;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "caisson-code-"));
  guest = localGuest(folder);
  bench = new Bench(guest);
});
afterAll(async () => {
  await guest.stop();
  await rm(folder, { recursive: true, force: true });
});

/** Contexts that one interrupt must end, each from its first moment. */
const FRESH = 8;

describe("one interrupt", () => {
  const busy = {
    python: ["print('ready', flush=True)\nwhile True: pass", "print('alive')"],
    javascript: ["console.log('ready'); while (true) {}", "console.log('alive')"],
    shell: ["echo ready; while :; do :; done", "echo alive"],
  } as const;
  test.each([
    ["python", "start"],
    ["python", "output"],
    ["javascript", "start"],
    ["javascript", "output"],
    ["shell", "start"],
    ["shell", "output"],
  ] as const)("ends fresh %s at its %s, which then goes on and can write", { timeout: 180_000 }, async (language, at) => {
    const [code, after] = busy[language];
    for (let n = 0; n < FRESH; n += 1) {
      const context = await bench.start(language);
      expect(await bench.interruptedOnce(context, code, at)).toMatchObject({ status: "interrupted", context_ended: false });
      expect(await bench.run(context, after)).toMatchObject({ status: "ok", stdout: "alive\n" });
      await guest.kill(context.id, { signal: "KILL", scope: "tree" });
    }
  });
});

const main = (outcome: CodeOutcome) => outcome.results.find((result) => result.is_main_result)?.formats;

describe("python", () => {
  let context: LiveContext;
  beforeAll(async () => {
    context = await bench.start("python");
  });
  const run = (code: string, options: Partial<CodeRun> = {}) => bench.run(context, code, options);

  test("keeps state and answers with the last value", async () => {
    expect(await run("x = 20\ndef double(n):\n  return n * 2")).toMatchObject({ status: "ok", results: [], error: null });
    const outcome = await run("print('hello')\ndouble(x) + 2");
    expect(outcome).toMatchObject({ status: "ok", stdout: "hello\n", stderr: "" });
    expect(main(outcome)).toEqual({ "text/plain": "42", "application/json": 42 });
    expect(main(await run("_ + 1"))?.["application/json"]).toBe(43);
    expect((await run("x = 1;\nNone")).results).toEqual([]);
  });

  test("awaits at the top level, over several runs", async () => {
    await run("import asyncio\nqueue = asyncio.Queue()\nasync def put():\n  await queue.put(7)");
    expect(main(await run("await put()\nawait queue.get()"))?.["application/json"]).toBe(7);
  });

  test("tells an error with the lines of the code and none of the driver's", async () => {
    await run("def broken():\n  return 1 / 0");
    const { status, error } = await run("print('so far')\nbroken()");
    expect(status).toBe("error");
    expect(error).toMatchObject({ name: "ZeroDivisionError", message: "division by zero" });
    expect(error?.traceback).toContain("return 1 / 0");
    expect(error?.traceback).not.toContain("<string>");
    expect((await run("if then")).error).toMatchObject({ name: "SyntaxError" });
    expect((await run("class E(Exception):\n  def __str__(self): raise ValueError\nraise E()")).error?.name).toBe("E");
  });

  test("shows values in every form that they have", async () => {
    const outcome = await run(`
class Shown:
  def __repr__(self): return "plain"
  def _repr_html_(self): return "<b>html</b>"
  def _repr_png_(self): return b"\\x89PNG"
  def _repr_svg_(self): return "<svg/>"
  def _repr_json_(self): return {"a": [1]}
  def _repr_mimebundle_(self, include=None, exclude=None): return {"application/x-own": "own"}
class Broken:
  def __repr__(self): raise ValueError("no")
  def _repr_html_(self): raise ValueError("no")
display(Shown(), Broken())
print("after")
[{"a": 1, "b": "x"}, {"a": 2.5}]`);
    expect(outcome.results.map((result) => result.is_main_result)).toEqual([false, false, true]);
    expect(outcome.results[0]?.formats).toEqual({
      "text/plain": "plain",
      "text/html": "<b>html</b>",
      "image/png": Buffer.from("\x89PNG", "latin1").toString("base64"),
      "image/svg+xml": "<svg/>",
      "application/json": { a: [1] },
      "application/x-own": "own",
    });
    expect(outcome.results[1]?.formats).toEqual({ "text/plain": "<Broken whose repr failed: ValueError>" });
    expect(main(outcome)?.[TABLE_FORMAT]).toEqual({
      columns: ["a", "b"],
      rows: [
        [1, "x"],
        [2.5, null],
      ],
      total_rows: 2,
    });
  });

  // Where PYTHONPATH or the machine has them; the protocol itself is tested without.
  test.skipIf(spawnSync("python3", ["-c", "import pandas, matplotlib"]).status !== 0)("shows data frames and figures", async () => {
    const science = await bench.start("python", { PYTHONPATH: process.env.PYTHONPATH ?? "", HOME: folder });
    const code = "import pandas, matplotlib.pyplot as plt\nplt.plot([1, 2])\npandas.DataFrame({'a': [1, 2], 'b': [1.5, float('nan')]})";
    const outcome = await bench.run(science, code, { timeoutMs: 60_000 });
    expect(main(outcome)?.[TABLE_FORMAT]).toEqual({ columns: ["a", "b"], rows: [[1, 1.5], [2, null]], total_rows: 2 }); // prettier-ignore
    expect(main(outcome)?.["text/html"]).toContain("<table");
    const figure = outcome.results.find((result) => !result.is_main_result)?.formats["image/png"];
    expect(Buffer.from(String(figure), "base64").subarray(1, 4).toString()).toBe("PNG");
  });

  test("carries a large value in one piece, and leaves a huge one out", async () => {
    const large = await run("'ü' * 300_000");
    expect(main(large)?.["application/json"]).toBe("ü".repeat(300_000));
    const huge = await run("'x' * 5_000_000");
    expect(huge.results[0]?.omitted).toEqual(["application/json"]);
  });

  test("catches what programs and threads write, in order", async () => {
    const outcome = await run(
      "import subprocess, sys, os, threading\nprint(1)\nsubprocess.run(['sh', '-c', 'echo 2; echo err >&2'])\nos.write(1, b'3\\n')\nt = threading.Thread(target=print, args=(4,))\nt.start(); t.join()\nprint(5, end='')",
    );
    expect(outcome).toMatchObject({ status: "ok", stdout: "1\n2\n3\n4\n5", stderr: "err\n" });
  });

  test.each([
    ["a busy loop", "print('ready', flush=True)\nwhile True: pass"],
    ["a sleep", "import time\nprint('ready', flush=True)\ntime.sleep(100)"],
    ["a program", "import subprocess\nprint('ready', flush=True)\nsubprocess.run(['sleep', '100'])"],
    ["a shell", "import os\nprint('ready', flush=True)\nif os.system('sleep 100'): raise KeyboardInterrupt"],
    ["an await", "import asyncio\nprint('ready', flush=True)\nawait asyncio.sleep(100)"],
  ])("is interrupted in %s, and keeps its state", async (_name, code) => {
    await run("kept = 'yes'");
    expect(await bench.interrupted(context, code)).toMatchObject({ status: "interrupted", error: { name: "KeyboardInterrupt" } });
    expect(main(await run("kept"))?.["application/json"]).toBe("yes");
    await bench.interrupt(context); // idle: nothing happens
    expect(main(await run("kept"))?.["application/json"]).toBe("yes");
  });

  test("a timeout interrupts; what does not stop is killed", async () => {
    await run("kept = 'yes'");
    const late = await run("import time\ntime.sleep(100)", { timeoutMs: 100 });
    expect(late).toMatchObject({ status: "timed_out", context_ended: false, error: { name: "TimedOut" } });
    expect(main(await run("kept"))?.["application/json"]).toBe("yes");
    const stubborn = await bench.start("python");
    const code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass";
    // Time enough to become so.
    expect(await bench.run(stubborn, code, { timeoutMs: 2_000 })).toMatchObject({ status: "timed_out", context_ended: true });
    await expect(bench.run(stubborn, "1")).rejects.toMatchObject({ code: "context_not_found" });
  });

  test("a context that ends ends the code with an error that says so", async () => {
    const doomed = await bench.start("python");
    expect(await bench.run(doomed, "print('last')\nimport os; os._exit(3)")).toMatchObject({
      status: "error",
      stdout: "last\n",
      context_ended: true,
      error: { name: "ContextEnded", message: expect.stringContaining("status 3") as unknown },
    });
    await expect(bench.run(doomed, "1")).rejects.toMatchObject({ code: "context_not_found" });
  });

  test("exit, input and forks leave the context alone", async () => {
    expect(await run("import sys; sys.exit(3)")).toMatchObject({ status: "error", error: { name: "SystemExit", message: "3" } });
    expect(await run("exit()")).toMatchObject({ status: "ok" });
    expect(await run("input('name? ')")).toMatchObject({ status: "error", error: { name: "EOFError" } });
    const forked = await run("import os\npid = os.fork()\nprint('child' if pid == 0 else 'parent')\nif pid: os.waitpid(pid, 0)");
    expect(forked.stdout.split("\n").toSorted()).toEqual(["", "child", "parent"]);
    expect(
      await run("from multiprocessing import Pool\ndef f(n): return n * n\nwith Pool(2) as pool: r = pool.map(f, [1, 2])\nr"),
    ).toMatchObject({
      results: [{ formats: { "application/json": [1, 4] } }],
    });
    expect(main(await run("1 + 1"))?.["application/json"]).toBe(2);
  });

  test("env and workdir are set and stay", async () => {
    await run("", { env: { WHO: "me" }, workdir: "/usr" });
    expect(main(await run("import os\n[os.environ['WHO'], os.getcwd()]"))?.["application/json"]).toEqual(["me", "/usr"]);
    expect(await run("1", { workdir: "/nowhere" })).toMatchObject({ status: "error", error: { name: "FileNotFoundError" } });
  });

  test("fake frames on every descriptor fool only their own context", async () => {
    const victim = await bench.start("python");
    const code = `
import os
fakes = [b"\\x1e" + i + b"=" + t + b"\\x1e" for i in (b"0" * 32, b"") for t in (b'{"type":"end","status":"ok"}', b'{"type":"turn","turn":99}', b"{", b"[" * 9000)]
for fd in range(3, 256):
  for fake in fakes:
    try: os.write(fd, fake)
    except OSError: pass
for fd in (1, 2):
  for fake in fakes: os.write(fd, fake)
  os.write(fd, b"\\x1e" * 100 + bytes(range(256)))
os.write(1, b"\\x1e" + state_id() + b"=not json\\x1e")
`;
    const withId = `import gc\ndef state_id():\n  return next(o.id for o in gc.get_objects() if type(o).__name__ == "SimpleNamespace" and hasattr(o, "turn")).encode()\n`;
    const outcome = await bench.run(victim, withId + code);
    expect(outcome.status).toBe("ok");
    expect(outcome.stdout).toContain('"type":"end"');
    expect(main(await bench.run(victim, "6 * 7"))?.["application/json"]).toBe(42);
  });

  test("fake frames in the middle of code are kept by nobody", async () => {
    const victim = await bench.start("python");
    const code = `
import gc, os
state = next(o for o in gc.get_objects() if type(o).__name__ == "SimpleNamespace" and hasattr(o, "turn"))
fakes = (b"\\x1e" + state.id.encode() + b'={"type":"turn","turn":1}\\x1e') * 1000
print("begun", flush=True)
for _ in range(300):
  rest = fakes
  while rest: rest = rest[os.write(1, rest):]
print("faked", flush=True)`;
    const heap: number[] = [];
    for await (const event of bench.events(victim, code)) {
      if (event.type !== "output" || !/begun|faked/.test(Buffer.from(event.bytes).toString())) continue;
      collectGarbage();
      heap.push(process.memoryUsage().heapUsed);
    }
    const [before = 0, after = Infinity] = heap;
    expect(after - before).toBeLessThan(8 * 1_048_576);
  });

  test("a flood of output comes through whole", async () => {
    let bytes = 0;
    for await (const event of bench.events(context, "line = 'x' * 99\nfor _ in range(50_000): print(line)")) {
      if (event.type === "output") bytes += event.bytes.length;
    }
    expect(bytes).toBe(5_000_000);
  });

  test("calls at once run one after the other; a waiting one that gives up never runs", async () => {
    await run("seen = []");
    const go = join(folder, "go");
    const busy = run(`import os, time\nseen.append('a')\nwhile not os.path.exists(${JSON.stringify(go)}): time.sleep(0.01)`);
    await expect(run("seen.append('never')", { waitMs: 50 })).rejects.toMatchObject({ code: "context_busy" });
    await writeFile(go, "");
    await busy;
    await Promise.all(["b", "c", "d"].map((name) => run(`seen.append('${name}')`)));
    const seen = main(await run("seen"))?.["application/json"] as string[];
    expect(seen.toSorted()).toEqual(["a", "b", "c", "d"]);
  });

  test("half a request and garbage do nothing", async () => {
    const write = async (text: string): Promise<void> => {
      await guest.writeInput(context.id, (async function* () { yield Buffer.from(text); })()); // prettier-ignore
    };
    await write('{"op":"run","id":"x","tu');
    expect(main(await run("6 * 7"))?.["application/json"]).toBe(42);
    await write("\n\n[]\nnull\n{}\n\x00\xff\n");
    expect(main(await run("6 * 7"))?.["application/json"]).toBe(42);
  });
});

describe("javascript", () => {
  let context: LiveContext;
  beforeAll(async () => {
    context = await bench.start("javascript");
  });
  const run = (code: string, options: Partial<CodeRun> = {}) => bench.run(context, code, options);

  test("keeps state, lets names be declared again, and answers with the last value", async () => {
    await run("const x = 20; let y = 1; function double(n) { return n * 2 } class A {}");
    const outcome = await run("console.log('hello'); console.error('err'); let y = 2; double(x) + y");
    expect(outcome).toMatchObject({ status: "ok", stdout: "hello\n", stderr: "err\n" });
    expect(main(outcome)).toEqual({ "text/plain": "42", "application/json": 42 });
    expect(main(await run("{ a: [1], 'ü': null }"))?.["application/json"]).toEqual({ a: [1], ü: null });
    expect(main(await run("new Map([[1, 2]])"))).toEqual({ "text/plain": "Map(1) { 1 => 2 }" });
    expect(main(await run("10n"))?.["text/plain"]).toBe("10n");
    expect(main(await run("NaN"))?.["text/plain"]).toBe("NaN");
    expect(main(await run("Symbol('s')"))?.["text/plain"]).toBe("Symbol(s)");
  });

  test("awaits at the top level, requires and imports", async () => {
    await writeFile(join(folder, "own.mjs"), "export const own = 5;");
    expect(main(await run("const { own } = await import('./own.mjs'); own"))?.["application/json"]).toBe(5);
    expect(main(await run("const fs = await import('node:fs'); typeof fs.readFileSync"))?.["application/json"]).toBe("function");
    expect(main(await run("require('node:path').basename('/a/b') + \" import('x')\""))?.["application/json"]).toBe("b import('x')");
  });

  test("tells an error with its stack", async () => {
    const { error } = await run("function broken() { throw new TypeError('bad') }\nbroken()");
    expect(error).toMatchObject({ name: "TypeError", message: "bad" });
    expect(error?.traceback).toMatch(/at broken \(cell-\d+\.js:1/);
    expect(error?.traceback).not.toContain("inspector");
    expect((await run("1 +")).error).toMatchObject({ name: "SyntaxError" });
    expect((await run("throw 3")).error).toMatchObject({ name: "Error", message: "3" });
    expect((await run("await Promise.reject(new RangeError('later'))")).error).toMatchObject({ name: "RangeError" });
  });

  test("shows values", async () => {
    const outcome = await run(
      "display([{a: 1}, {a: 2, b: 'x'}]); display({_repr_html_: () => '<i>', _repr_png_: () => new Uint8Array([1])}); undefined",
    );
    expect(outcome.results).toHaveLength(2);
    expect(outcome.results[0]?.formats[TABLE_FORMAT]).toEqual({ columns: ["a", "b"], rows: [[1, null], [2, "x"]], total_rows: 2 }); // prettier-ignore
    expect(outcome.results[1]?.formats).toMatchObject({ "text/html": "<i>", "image/png": "AQ==" });
  });

  test.each([
    ["a busy loop", "console.log('ready'); while (true) {}"],
    ["a wait", "console.log('ready'); await new Promise((done) => setTimeout(done, 100_000))"],
    ["a program", "console.log('ready'); require('node:child_process').execSync('sleep 100')"],
  ])("is interrupted in %s, and keeps its state", async (name, code) => {
    await run("var kept = 'yes'");
    expect(await bench.interrupted(context, code)).toMatchObject({
      // The program's own end and the interrupt race for it.
      status: expect.stringMatching(name === "a program" ? /^(?:error|interrupted)$/ : /^interrupted$/) as unknown,
    });
    await bench.interrupt(context);
    expect(main(await run("kept"))?.["application/json"]).toBe("yes");
  });

  test("a timeout, an exit, and errors in the background", async () => {
    expect(await run("while (true) {}", { timeoutMs: 500 })).toMatchObject({ status: "timed_out", context_ended: false });
    expect(
      await run(
        "setTimeout(() => { throw new Error('later') }, 1); Promise.reject(new Error('lost')); await new Promise((done) => setTimeout(done, 50))",
      ),
    ).toMatchObject({
      status: "ok",
      stderr: expect.stringMatching(/later[\s\S]*lost|lost[\s\S]*later/) as unknown,
    });
    const doomed = await bench.start("javascript");
    expect(await bench.run(doomed, "console.log('last'); process.exit(4)")).toMatchObject({
      context_ended: true,
      error: { name: "ContextEnded", message: expect.stringContaining("status 4") as unknown },
    });
  });

  test("a flood of output comes through whole", async () => {
    let bytes = 0;
    for await (const event of bench.events(context, "const line = 'x'.repeat(99); for (let i = 0; i < 50_000; i++) console.log(line)")) {
      if (event.type === "output") bytes += event.bytes.length;
    }
    expect(bytes).toBe(5_000_000);
  });
});

describe("shell", () => {
  let context: LiveContext;
  beforeAll(async () => {
    context = await bench.start("shell");
  });
  const run = (code: string, options: Partial<CodeRun> = {}) => bench.run(context, code, options);
  const exitCode = (outcome: CodeOutcome) => (main(outcome)?.["application/json"] as { exit_code?: number } | undefined)?.exit_code;

  test("keeps variables, functions, the folder and the environment", async () => {
    await run("x='a  b'\nexport E=env\nf() { echo \"f: $1\"; }\ncd /usr");
    const outcome = await run("f \"$x\"; sh -c 'echo $E'; pwd; echo 'quote '\"'\"' ü'; (exit 3)");
    expect(outcome).toMatchObject({ status: "ok", stdout: "f: a  b\nenv\n/usr\nquote ' ü\n", stderr: "" });
    expect(exitCode(outcome)).toBe(3);
    expect((await run("echo $?")).stdout).toBe("3\n");
    expect((await run("cat", { env: { A: "it's" } })).stdout).toBe("");
    expect((await run('printf %s "$A"')).stdout).toBe("it's");
  });

  test("is the image's own where there is no bash", async () => {
    const bin = await mkdtemp(join(folder, "bin-"));
    for (const name of ["sh", "sleep"]) await symlink(join("/bin", name), join(bin, name));
    const plain = await bench.start("shell", { PATH: bin });
    expect(await bench.run(plain, 'kept=yes; echo "${BASH_VERSION:-none}"')).toMatchObject({ status: "ok", stdout: "none\n" });
    for (const at of ["start", "output"] as const) {
      const outcome = await bench.interruptedOnce(plain, "echo ready; while :; do :; done", at);
      expect(outcome).toMatchObject({ status: "interrupted", context_ended: false });
    }
    expect((await bench.run(plain, "echo $kept; (exit 3)")).stdout).toBe("yes\n");
    expect((await bench.run(plain, "echo $?")).stdout).toBe("3\n");
  });

  test.each(["while :; do :; done", "sleep 100", "f() { while true; do sleep 100; done; }; f", "cat /dev/zero >/dev/null"])(
    "is interrupted in %s, and keeps its state",
    async (code) => {
      await run("kept=yes");
      expect(await bench.interrupted(context, `echo ready; ${code}`)).toMatchObject({ status: "interrupted" });
      await bench.interrupt(context);
      expect((await run("echo $kept")).stdout).toBe("yes\n");
    },
  );

  test("an interrupt that comes while the end is told loses no end", async () => {
    const code = "printf() { unset -f printf; kill -INT $$; }; (exit 3)";
    const outcome = await run(code, { timeoutMs: 10_000 });
    expect([outcome.status, exitCode(outcome)]).toEqual(["ok", 3]);
    expect((await run("printf alive")).stdout).toBe("alive");
  });

  test("set -e ends the call, not the context", async () => {
    expect(await run("set -eu\necho one; (false; echo two) || echo three\nfalse\necho never")).toMatchObject({
      status: "ok",
      stdout: "one\ntwo\n",
    });
    expect(exitCode(await run("set -e; f() { (exit 7); echo never; }; f"))).toBe(7);
    expect((await run("set +u; echo alive")).stdout).toBe("alive\n");
    expect(exitCode(await run("if then"))).toBe(2);
    expect(exitCode(await run("echo ${unset:?is missing}; echo never"))).not.toBe(0);
    expect((await run("echo alive")).stdout).toBe("alive\n");
  });

  test("a timeout, and exit", async () => {
    expect(await run("sleep 100", { timeoutMs: 100 })).toMatchObject({ status: "timed_out", context_ended: false });
    expect((await run("echo alive")).stdout).toBe("alive\n");
    const doomed = await bench.start("shell");
    expect(await bench.run(doomed, "echo last; exit 4")).toMatchObject({
      stdout: "last\n",
      context_ended: true,
      error: { name: "ContextEnded", message: expect.stringContaining("status 4") as unknown },
    });
  });

  test("half a request does nothing", async () => {
    await guest.writeInput(context.id, (async function* () { yield Buffer.from("__caisson_run x 0 echo\\\\0040"); })()); // prettier-ignore
    expect((await run("echo alive")).stdout).toBe("alive\n");
  });

  test("binary output comes through", async () => {
    let bytes = Buffer.alloc(0);
    for await (const event of bench.events(context, "head -c 100000 /dev/urandom | tee copy")) {
      if (event.type === "output" && event.stream === "stdout") bytes = Buffer.concat([bytes, event.bytes]);
    }
    expect((await run("cmp copy copy && wc -c <copy")).stdout.trim()).toBe("100000");
    expect(bytes.length).toBe(100_000);
  });
});
