import { execFile, execFileSync } from "node:child_process";
import { promisify } from "node:util";
import { vi } from "vitest";

const run = promisify(execFile);

/** A command in a real terminal, which tmux draws: keys go in, the screen comes out. */
export class Tmux implements Disposable {
  readonly #socket: string;

  /** Starts `command`, a shell line, on a screen of 100 by 30. What it leaves behind stays on the screen. */
  constructor(command: string, env: Readonly<Record<string, string>>) {
    this.#socket = `caisson-test-${process.pid}-${Math.random().toString(36).slice(2)}`;
    const args = ["-L", this.#socket, "-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", command];
    execFileSync("tmux", [...args, ";", "set", "-g", "remain-on-exit", "on"], { env: { ...env, LANG: "C.UTF-8", TERM: "xterm-256color" } });
  }

  /** Types keys: names as tmux knows them, such as `Enter` and `C-c`, or text. */
  async keys(...keys: string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux("send-keys", "-l", text);
  }

  async resize(cols: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-x", String(cols), "-y", String(rows));
  }

  /** What the screen shows. */
  async screen(): Promise<string> {
    return (await this.#tmux("capture-pane", "-p")).trimEnd();
  }

  /** Resolves when the screen fits; fails with what it shows. */
  async until(fits: RegExp): Promise<string> {
    return vi.waitFor(
      async () => {
        const screen = await this.screen();
        if (!fits.test(screen)) throw new Error(`the screen does not fit ${String(fits)}:\n${screen}`);
        return screen;
      },
      { timeout: 60_000, interval: 100 },
    );
  }

  [Symbol.dispose](): void {
    execFileSync("tmux", ["-L", this.#socket, "kill-server"], { stdio: "ignore" });
  }

  async #tmux(...args: string[]): Promise<string> {
    return (await run("tmux", ["-L", this.#socket, ...args])).stdout;
  }
}
