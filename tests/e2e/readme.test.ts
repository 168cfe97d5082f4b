import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const ROOT = new URL("../..", import.meta.url).pathname;

/** One step of the tour: a file to write, or a command with pieces of the output that the page shows below it. */
type Step =
  | { readonly kind: "file"; readonly name: string; readonly text: string }
  | { readonly kind: "command"; readonly line: string; readonly shown: readonly string[] };

/** The steps of the fenced blocks that the page marks with `tour`. */
function readTour(page: string): Step[] {
  const steps: Step[] = [];
  for (const [, language, file, body = ""] of page.matchAll(/^```(sh|ts) tour(?:=(\S+))?\n(.*?)^```$/gms)) {
    if (language === "ts") {
      steps.push({ kind: "file", name: file ?? "", text: body });
      continue;
    }
    for (const line of body.split("\n").filter((one) => one !== "")) {
      const last = steps.at(-1);
      if (line.startsWith("# ") && last?.kind === "command") steps[steps.length - 1] = { ...last, shown: [...last.shown, line.slice(2)] };
      else steps.push({ kind: "command", line, shown: [] });
    }
  }
  return steps;
}

/** One shell for all steps, as the reader has one. */
class Shell {
  readonly #child: ChildProcess;
  #output = "";

  constructor(env: NodeJS.ProcessEnv) {
    this.#child = spawn("bash", ["--noprofile", "--norc"], { cwd: ROOT, env, stdio: ["pipe", "pipe", "pipe"], detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Buffer) => (this.#output += chunk.toString()));
    }
  }

  /** Runs one line, its input closed; what it wrote, and its exit status. */
  async run(line: string, timeoutMs: number): Promise<{ readonly output: string; readonly status: number }> {
    const begin = this.#output.length;
    const mark = `--end-${process.hrtime.bigint()}--`;
    this.#child.stdin?.write(`{ ${line}\n} </dev/null\nprintf '%s %s\\n' '${mark}' "$?"\n`);
    const end = new RegExp(`${mark} (\\d+)\\n`);
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const match = end.exec(this.#output.slice(begin));
      if (match !== null) return { output: this.#output.slice(begin, begin + match.index), status: Number(match[1]) };
      await once(this.#child.stdout as NodeJS.ReadableStream, "data", { signal: deadline });
    }
  }

  /** Ends it and what it left in the background, which is of its process group. */
  close(): void {
    if (this.#child.pid !== undefined && this.#child.exitCode === null) process.kill(-this.#child.pid, "SIGTERM");
  }
}

const steps = readTour(await readFile(join(ROOT, "README.md"), "utf8"));

// A plain user cannot limit memory, which the tour shows.
describe.skipIf(process.getuid?.() !== 0)("the README tour", () => {
  let folder: string;
  let server: ChildProcess | undefined;
  let shell: Shell | undefined;
  let serverOutput = "";

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "caisson-readme-"));
    const env = { ...process.env, CAISSON_DATA_DIR: join(folder, "data"), CAISSON_SERVER__PORT: "0", NO_COLOR: "1" };
    server = spawn("npm", ["start"], { cwd: ROOT, env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    for (const stream of [server.stdout, server.stderr]) stream?.on("data", (chunk: Buffer) => (serverOutput += chunk.toString()));
    const deadline = Date.now() + 180_000;
    while (!serverOutput.includes("Next, in another terminal")) {
      if (server.exitCode !== null || Date.now() > deadline) throw new Error(`npm start did not come up:\n${serverOutput}`);
      await sleep(20); // its output is what a reader waits for, too
    }
    shell = new Shell(env);
  }, 200_000);

  afterAll(async () => {
    shell?.close();
    if (server?.pid !== undefined && server.exitCode === null) {
      const gone = once(server, "close"); // npm may be gone before what it started
      process.kill(-server.pid, "SIGTERM"); // they are a group of their own
      await gone;
    }
    // What the shell left in the background may still write there.
    await rm(folder, { recursive: true, force: true, maxRetries: 20 });
    for (const step of steps) if (step.kind === "file") await rm(join(ROOT, step.name), { force: true });
  });

  test("has steps that show what they do", () => {
    expect(steps.filter((step) => step.kind === "command" && step.shown.length > 0).length).toBeGreaterThan(8);
  });

  /** Does one step as a reader does; a file is written, a line is typed. */
  async function act(step: Step): Promise<{ readonly output: string; readonly status: number }> {
    if (step.kind === "command") return (await shell?.run(step.line, 170_000)) ?? { output: "no shell", status: -1 };
    await writeFile(join(ROOT, step.name), step.text);
    return { output: "", status: 0 };
  }

  test.each(steps.map((step) => ({ title: step.kind === "file" ? `write ${step.name}` : step.line, step })))("$title", async ({ step }) => {
    const { output, status } = await act(step);
    expect(status, `${output}\n--- server\n${serverOutput.slice(-4_000)}`).toBe(0);
    for (const piece of step.kind === "command" ? step.shown : []) expect(output).toContain(piece);
  });
});
