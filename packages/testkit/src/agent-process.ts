import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as wait } from "node:timers/promises";

/** Time to accept connections, in ms. */
const START_MS = 60_000;

/** Path of the agent binary that `scripts/build-agent.sh` makes; undefined when it was not built. */
export function agentBinary(): string | undefined {
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  const path = resolve(import.meta.dirname, `../../../agent/target/${arch}-unknown-linux-gnu/release/caisson-agent`);
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    // Not built here; the caller says what that means for it.
    return undefined;
  }
}

/** A real guest agent run as an ordinary process of this machine: no sandbox, nothing isolated. */
export class AgentProcess {
  readonly folder: string;
  readonly child: ChildProcess;
  readonly #socket: string;

  private constructor(folder: string, child: ChildProcess, socket: string) {
    this.folder = folder;
    this.child = child;
    this.#socket = socket;
  }

  /** Starts one and waits until it accepts connections. */
  static async start(binary: string, options: readonly string[] = []): Promise<AgentProcess> {
    const folder = mkdtempSync(join(tmpdir(), "caisson-agent-"));
    const socket = join(folder, "agent.sock");
    const child = spawn(binary, ["guest", "--listen", socket, ...options], { stdio: ["ignore", "inherit", "inherit"] });
    const agent = new AgentProcess(folder, child, socket);
    const until = Date.now() + START_MS;
    for (;;) {
      try {
        (await agent.connect()).destroy();
        return agent;
      } catch (error) {
        if (Date.now() > until || child.exitCode !== null || child.signalCode !== null) {
          await agent.stop();
          throw new Error("The agent did not start.", { cause: error });
        }
        await wait(10);
      }
    }
  }

  /** A fresh connection. */
  async connect(): Promise<Socket> {
    const socket = connect(this.#socket);
    await once(socket, "connect");
    return socket;
  }

  /** Ends it and removes its folder. */
  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const gone = once(this.child, "exit");
      this.child.kill("SIGKILL");
      await gone;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}
