import type { Process, Sandbox as SandboxInfo } from "@caisson/contract";
import { Caisson, CaissonApiError, Sandbox, type Terminal, type TerminalEvent } from "@caisson/sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ApiAccess } from "../harness/api-access.ts";
import type { SandboxTarget } from "./sandbox-target.ts";

/** The last of what a terminal shows, and a wait for a part of it. */
class Screen {
  text = "";
  #wake: (() => void)[] = [];
  readonly add = (bytes: Uint8Array): void => {
    this.text = (this.text + Buffer.from(bytes).toString("latin1")).slice(-16_384);
    for (const wake of this.#wake.splice(0)) wake();
  };

  async until(part: string | RegExp): Promise<string> {
    while (typeof part === "string" ? !this.text.includes(part) : !part.test(this.text))
      await new Promise<void>((wake) => this.#wake.push(wake));
    return this.text;
  }
}

/** Terminals, and processes that are waited for, read, limited and killed. */
export function terminals(target: () => SandboxTarget): void {
  let api: ApiAccess;
  let sandbox: Sandbox;
  beforeAll(async () => {
    ({ api } = target());
    sandbox = await target().create();
  });
  afterAll(() => sandbox.destroy());

  async function shell(
    options: { tag?: string; window?: number; onEvent?: (event: TerminalEvent) => void } = {},
  ): Promise<[Terminal, Screen]> {
    const screen = new Screen();
    const terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: ["bash", "--norc"], onData: screen.add, ...options });
    return [terminal, screen];
  }

  describe("a terminal", () => {
    it("types, resizes, is found by its tag, and tells its exit", async () => {
      const [terminal, screen] = await shell({ tag: "mine" });
      await terminal.write("stty size; echo $TERM\n");
      await screen.until("24 80");
      await screen.until("xterm-256color");
      terminal.resize({ cols: 132, rows: 50 });
      await terminal.write("stty size\n");
      await screen.until("50 132");
      expect((await sandbox.pty.list({ tag: "mine" })).map((one) => one.process_id)).toEqual([terminal.processId]);
      expect(await sandbox.pty.list({ tag: "other" })).toEqual([]);
      await sandbox.processes.resize(terminal.processId, { cols: 70, rows: 20 });
      await terminal.write("stty size; exit 7\n");
      await screen.until("20 70");
      expect(await terminal.wait()).toMatchObject({ exitCode: 7, signal: null, timedOut: false });
      expect(await sandbox.pty.list({ tag: "mine" })).toEqual([]);
      await expect(terminal.write("more")).rejects.toMatchObject({ code: "process_not_found" });
    });

    it("is kept when its client goes, and taken up at a byte by another", async () => {
      const [first, screen] = await shell();
      await first.write("X=kept; printf 'a%s\\n' bc\n");
      await screen.until("abc\r\n");
      const { processId, offset } = first;
      first.disconnect();
      await expect(first.wait()).rejects.toMatchObject({ code: "cancelled" });
      const whole = new Screen();
      const rest = new Screen();
      using again = await sandbox.pty.connect(processId, { from: offset, onData: rest.add });
      // Two at once see the same.
      using beside = await sandbox.pty.connect(processId, { onData: whole.add });
      await again.write("echo [$X]\n");
      await rest.until("[kept]");
      await whole.until("[kept]");
      expect(rest.text).not.toContain("abc");
      expect(whole.text).toContain("abc");
      await beside.kill("KILL");
      expect(await again.wait()).toMatchObject({ exitCode: 137, signal: "KILL" });
    });

    it("gives every byte once to a reader that is slow, and waits for it", async () => {
      const terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: "stty raw; head -c 3000000 /dev/zero", window: 65_536 });
      let bytes = 0;
      for await (const piece of terminal) {
        bytes += piece.length;
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(bytes).toBe(3_000_000);
      expect((await terminal.wait()).exitCode).toBe(0);
    });

    it("passes Ctrl-C through a flood of output", async () => {
      const [terminal, screen] = await shell();
      await terminal.write("yes\n");
      await screen.until("y\r\ny\r\n");
      await terminal.write("\x03");
      // What is typed before the prompt is there may lose its beginning.
      expect(await screen.until(/[$#] $/)).toContain("^C");
      await terminal.write("echo over $?\n");
      await screen.until("over 130");
      await terminal.kill();
      await terminal.wait();
    });

    it("gives input at the pace of the process: 4 MiB, whole", async () => {
      const size = 4 * 1_048_576;
      let got = 0;
      const terminal = await sandbox.pty.create({
        cols: 80,
        rows: 24,
        command: "stty raw -echo; echo ready; exec head -c 4194304",
        window: 32_768,
        onData: (bytes) => {
          got += bytes.length;
        },
      });
      await expect.poll(() => got).toBe("ready\n".length);
      await terminal.write(new Uint8Array(size).fill(120));
      await terminal.wait();
      expect(got).toBe(size + "ready\n".length);
    });

    it("ends what it started when it was asked to", async () => {
      using terminal = await sandbox.pty.create({ cols: 80, rows: 24, command: "sleep 600", killOnDisconnect: true });
      terminal.disconnect();
      expect((await sandbox.processes.wait(terminal.processId)).exit).toMatchObject({ signal: "KILL" });
    });

    it("fails by name: no sandbox, no process, a size that is none", async () => {
      await expect(sandbox.pty.connect(9999)).rejects.toMatchObject({ code: "process_not_found", status: 404 });
      await expect(sandbox.pty.create({ cols: 0, rows: 1 })).rejects.toMatchObject({ code: "invalid_request" });
      const other = await target().create();
      const terminal = await other.pty.create({ cols: 80, rows: 24 });
      const ended = terminal.wait().catch((error: unknown) => error);
      await other.destroy();
      expect(await ended).toMatchObject({ code: "sandbox_destroyed" });
      await expect(other.pty.create({ cols: 80, rows: 24 })).rejects.toMatchObject({ code: "sandbox_destroyed" });
      const wrong = await Sandbox.connect(sandbox.id, { client: api.client() });
      await expect(
        new Caisson({ url: api.url, token: "x" }).http.json({ method: "GET", path: `/sandboxes/${wrong.id}` }),
      ).rejects.toBeInstanceOf(CaissonApiError);
    });

    it("opens by token alone", async () => {
      const { token } = await sandbox.createToken({ action: "exec" });
      const byToken = await Sandbox.connect(sandbox.id, { client: new Caisson({ url: api.url, token }) });
      const screen = new Screen();
      using terminal = await byToken.pty.create({ cols: 80, rows: 24, command: "echo by token", onData: screen.add });
      expect((await terminal.wait()).exitCode).toBe(0);
      expect(screen.text).toContain("by token");
      await expect(byToken.commands.run("true")).rejects.toMatchObject({ code: "unauthorized" });
    });
  });

  describe("processes", () => {
    it("wait, limits, tags", async () => {
      const info = await api.json<SandboxInfo>("GET", `/sandboxes/${sandbox.id}`);
      const base = `/sandboxes/${info.id}`;
      const { process_id } = await sandbox.commands.spawn("cat; exit 5", { tag: "job", stdin: { open: true } });
      const early = await api.json<Process>("GET", `${base}/processes/${process_id}/wait?timeout=1ms`);
      expect(early).toMatchObject({ running: true, exit: null, tag: "job", pty: false });
      await sandbox.processes.closeStdin(process_id);
      expect((await sandbox.processes.wait(process_id)).exit).toMatchObject({ exit_code: 5 });
      expect((await api.fetch("GET", `${base}/processes/${process_id}/wait?timeout=2h`)).status).toBe(400);
      expect((await api.fetch("GET", `${base}/processes/9999/wait`)).status).toBe(404);
      const limited = await sandbox.commands.run("ulimit -t; ulimit -v; ulimit -n; ulimit -f", {
        limits: { cpuTime: "7s", memoryMb: 512, openFiles: 40, fileSizeMb: 3 },
      });
      expect(limited.stdout).toBe(`7\n${512 * 1024}\n40\n${3 * 2048}\n`);
      const spin = await sandbox.commands.run("while :; do :; done", { limits: { cpuTime: "1s" } });
      expect(spin.signal).toBe("XCPU");
    });

    it("several readers, a gap with its size, input and its end, signals by scope", async () => {
      const { process_id } = await sandbox.commands.spawn("head -c 20000 /dev/zero; exec cat", {
        stdin: { open: true },
        outputLimit: 4096,
        onFull: "drop",
      });
      await expect.poll(async () => (await sandbox.processes.get(process_id)).stdout.end).toBe(20_000);
      const readers = [0, 1, 2].map(async () => {
        let bytes = 0;
        let missed = 0;
        for await (const event of sandbox.processes.attach(process_id, { from: { stdout: 0 } })) {
          if (event.type === "output") bytes += event.bytes.length;
          if (event.type === "gap") missed += event.to - event.from;
        }
        return bytes + missed;
      });
      await sandbox.processes.writeStdin(process_id, "hello");
      await sandbox.processes.closeStdin(process_id);
      expect(await Promise.all(readers)).toEqual([20_005, 20_005, 20_005]);
      await expect(sandbox.processes.writeStdin(process_id, "late")).rejects.toBeInstanceOf(CaissonApiError);

      const tree = await sandbox.commands.spawn("sh -c 'trap \"\" TERM; echo in; sleep 600' & wait; sleep 600");
      for await (const event of sandbox.processes.attach(tree.process_id)) if (event.type === "output") break;
      expect(await sandbox.processes.kill(tree.process_id, { signalName: "CONT", scope: "leader" })).toBe(1);
      expect(await sandbox.processes.kill(tree.process_id, { signalName: "CONT", scope: "group" })).toBeGreaterThan(0);
      expect(await sandbox.processes.kill(tree.process_id, { signalName: "KILL" })).toBeGreaterThanOrEqual(2);
      expect((await sandbox.processes.wait(tree.process_id)).exit).toMatchObject({ signal: "KILL" });
      // Its exit is told to whoever asks later.
      expect((await sandbox.processes.wait(tree.process_id)).exit).toMatchObject({ signal: "KILL" });
    });
  });
}
