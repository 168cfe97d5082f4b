import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Process, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";
import { Tmux } from "../harness/tmux.ts";

const CLI = join(new URL("../..", import.meta.url).pathname, "packages/cli/bin/caisson.mjs");

let server: TestServer;
let sandbox: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
});

afterAll(async () => server[Symbol.asyncDispose]());

/** `caisson …` in a terminal, below a shell that tells, in one line, its exit code and how it left the terminal. */
function terminal(args: string): Tmux {
  const caisson = `'${process.execPath}' '${CLI}'`;
  return new Tmux(
    `sh -c '${caisson.replaceAll("'", `'\\''`)} ${args}; code=$?; modes=$(stty -a | grep -o -e "[-]*echo\\b" -e "[-]*icanon"); echo "ended with $code", $modes; exec cat'`,
    server.cliEnv,
  );
}

async function caisson(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, [CLI, ...args], { env: server.cliEnv })) };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

it("is a shell: types, resizes, ends with the shell's exit code and leaves the terminal as it was", async () => {
  using tmux = terminal(`shell ${sandbox.id}`);
  await tmux.until(/user@\S+\$/);
  await tmux.type("stty size; echo $TERM $((6*7))");
  await tmux.keys("Enter");
  await tmux.until(/30 100\s+tmux-256color 42/);
  await tmux.resize(90, 20);
  await expect
    .poll(async () => {
      await tmux.type("stty size");
      await tmux.keys("Enter");
      return tmux.screen();
    })
    .toMatch(/20 90/);
  await tmux.type("sh -c 'echo sleep$((1+1)); exec sleep 600'");
  await tmux.keys("Enter");
  // A program that the shell just starts misses the signal.
  await tmux.until(/^sleep2/m);
  await tmux.keys("C-c");
  // What is typed before the prompt is there may lose its beginning.
  await tmux.until(/\^C\s+user@\S+\$/);
  await tmux.type("exit 42");
  await tmux.keys("Enter");
  expect(await tmux.until(/ended with 42/)).toMatch(/^ended with 42, icanon echo$/m);
});

it("is left by Ctrl-P Ctrl-Q, says how to come back, and the same shell is there", async () => {
  using tmux = terminal(`shell ${sandbox.id}`);
  await tmux.until(/\$/);
  await tmux.type("MINE=kept; echo ready");
  await tmux.keys("Enter");
  await tmux.until(/^ready/m);
  await tmux.keys("C-p", "C-q");
  const left = await tmux.until(/ended with 0/);
  const processId = /shell --attach (\d+)/.exec(left)?.[1];
  expect(processId).toBeDefined();
  using again = terminal(`shell --attach ${processId} ${sandbox.id}`);
  await again.until(/ready/);
  await again.type("echo [$MINE]; exit");
  await again.keys("Enter");
  await again.until(/\[kept\][^]*ended with 0/);
});

it("goes on when the server was killed and came back", async () => {
  using tmux = terminal(`shell ${sandbox.id}`);
  await tmux.until(/\$/);
  await tmux.type("echo pid $$");
  await tmux.keys("Enter");
  const [, before] = /^pid (\d+)/m.exec(await tmux.until(/^pid \d+\s+user@/m)) ?? [];
  await server.kill9();
  await tmux.until(/the connection broke/);
  await server.up();
  await tmux.until(/connected again/);
  await tmux.type("echo still $$; exit 5");
  await tmux.keys("Enter");
  expect(await tmux.until(/ended with 5/)).toContain(`still ${before}`);
});

it("leaves the screen of an editor behind when it is detached from one", async () => {
  using tmux = terminal(`exec -it ${sandbox.id} -- vim -u NONE`);
  await tmux.until(/^~$/m);
  await tmux.type("ihello");
  await tmux.keys("Escape");
  await tmux.until(/^hello$/m);
  await tmux.keys("C-p", "C-q");
  const screen = await tmux.until(/ended with 0/);
  expect(screen).toMatch(/come back with\s+caisson attach/);
  expect(screen).not.toMatch(/^~$/m);
  const processId = /attach \S+ (\d+)/.exec(screen)?.[1] ?? "";
  using again = terminal(`attach ${sandbox.id} ${processId}`);
  await again.until(/^hello$/m);
  await again.type(":q!");
  await again.keys("Enter");
  await again.until(/ended with 0/);
});

it("needs a terminal, a process, and a sandbox", async () => {
  const piped = await caisson("shell", sandbox.id);
  expect(piped).toMatchObject({ code: 125 });
  expect(piped.stderr).toMatch(/not a terminal/);
  expect((await caisson("attach", sandbox.id, "9999")).code).toBe(125);
  expect((await caisson("wait", "nonsense", "1")).stderr).toMatch(/no such sandbox/);
});

it("starts in the background, waits, and follows", async () => {
  const started = await caisson("exec", "-d", "--tag", "job", sandbox.id, "--", "sh", "-c", "echo out; echo err >&2; sleep 0.2; exit 3");
  expect(started).toMatchObject({ code: 0 });
  const processId = started.stdout.trim();
  expect(processId).toMatch(/^\d+$/);
  const [process_] = (await server.json<{ items: Process[] }>("GET", `/sandboxes/${sandbox.id}/processes?tag=job`)).items;
  expect(process_?.process_id).toBe(Number(processId));
  expect(await caisson("wait", sandbox.id, processId)).toMatchObject({ code: 3, stdout: "" });
  const waited = await caisson("wait", "--json", sandbox.id, processId);
  expect(JSON.parse(waited.stdout)).toMatchObject({ running: false, exit: { exit_code: 3 } });
  expect(await caisson("attach", sandbox.id, processId)).toMatchObject({ code: 3, stdout: "out\n", stderr: "err\n" });
  expect(await caisson("attach", "--from", "2", sandbox.id, processId)).toMatchObject({ stdout: "t\n" });
  const sleeper = (await caisson("exec", "-d", sandbox.id, "--", "sleep", "600")).stdout.trim();
  expect(await caisson("wait", "--timeout", "50ms", sandbox.id, sleeper)).toMatchObject({ code: 124 });
  await caisson("kill", sandbox.id, sleeper);
});

it("prints the address of a terminal for a browser", async () => {
  const { stdout, code } = await caisson("shell", "--web", sandbox.id);
  expect(code).toBe(0);
  expect(stdout.trim()).toMatch(new RegExp(`^${server.url}/terminal/${sandbox.id}#token=[\\w.-]+$`));
});
