import { CaissonError } from "@caisson/contract";
import type { Terminal, TerminalEvent, TerminalOptions, TerminalSize } from "@caisson/sdk";
import { usageError } from "../program/cli-error.ts";
import { DetachKeys } from "../terminal/detach-keys.ts";
import { printable } from "../terminal/printable.ts";
import { ScreenModes } from "../terminal/screen-modes.ts";
import { writeOut } from "../terminal/write-out.ts";

/** Time between two sizes that make a program draw anew, in ms: told together, they would be none. */
const REDRAW_MS = 60;

/** How a terminal is opened and what is said about it. */
export interface RelayTerminal {
  /** Opens it with these options, at this size. */
  readonly open: (options: TerminalOptions, size: TerminalSize) => Promise<Terminal>;
  /** Whether what it shows was drawn for somebody else's screen. */
  readonly again: boolean;
  /** The command that comes back to a process. */
  readonly comeBack: (processId: number) => string;
}

/** How a relay ended. */
type End = { readonly exit: number } | "detached" | NodeJS.Signals;

/** Throws when this process has no terminal to give. */
export function needTerminal(): void {
  if (process.stdin.isTTY && process.stdout.isTTY) return;
  throw usageError("Standard input and output are not a terminal.", "Run it in a terminal, or use `caisson exec` without -t.");
}

/**
 * Connects this process's terminal with one in a sandbox until its process ends, or Ctrl-P Ctrl-Q is typed. The terminal is
 * left as it was found, whatever happens. Returns the exit code of the process, 0 when it was left running.
 */
export async function relayTerminal(relay: RelayTerminal): Promise<number> {
  needTerminal();
  const modes = new ScreenModes();
  const ended = Promise.withResolvers<End>();
  let lost = false;
  const onEvent = (event: TerminalEvent): void => {
    if (event.type === "reconnecting" && !lost) say("the connection broke; it is made again");
    if (event.type === "connected" && lost) {
      say("connected again");
      if (modes.fullScreen) void redraw(terminal);
    }
    if (event.type === "gap") say(`${event.to - event.from} bytes of output were dropped`);
    lost = event.type === "reconnecting";
  };
  const onData = async (bytes: Uint8Array): Promise<void> => {
    modes.take(bytes);
    await writeOut("stdout", bytes);
  };
  const terminal = await relay.open({ onData, onEvent }, sizeOfScreen());
  using raw = new RawMode(modes, (signal) => ended.resolve(signal));
  using keys = new DetachKeys((bytes) => {
    process.stdin.pause();
    const go = (): unknown => process.stdin.resume();
    // A process that has ended takes no more; its exit says so.
    terminal.write(bytes).then(go, go);
  });
  const onKey = (bytes: Buffer): void => {
    if (keys.take(bytes)) ended.resolve("detached");
  };
  const onResize = (): void => terminal.resize(sizeOfScreen());
  process.stdin.on("data", onKey);
  process.stdout.on("resize", onResize);
  if (relay.again) void redraw(terminal);
  terminal.wait().then(({ exitCode }) => ended.resolve({ exit: exitCode }), ended.reject);
  try {
    const end = await ended.promise;
    raw[Symbol.dispose]();
    if (typeof end === "object") return end.exit;
    process.stderr.write(
      `\ncaisson: left process ${terminal.processId} running; come back with\n  ${relay.comeBack(terminal.processId)}\n`,
    );
    return end === "detached" ? 0 : 128 + (end === "SIGHUP" ? 1 : 15);
  } finally {
    process.stdin.off("data", onKey);
    process.stdout.off("resize", onResize);
    // Its end is known, or of no interest any more.
    terminal.disconnect();
    process.stdin.destroy();
  }
}

/** Makes what runs in a terminal draw its screen anew. */
async function redraw(terminal: Terminal): Promise<void> {
  const { cols, rows } = sizeOfScreen();
  terminal.resize({ cols, rows: Math.max(1, rows - 1) });
  await new Promise((resolve) => setTimeout(resolve, REDRAW_MS));
  terminal.resize(sizeOfScreen());
}

function sizeOfScreen(): TerminalSize {
  return { cols: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

function say(what: string): void {
  process.stderr.write(`\r\n\x1b[2mcaisson: ${printable(what)}\x1b[m\r\n`);
}

/** Raw mode of this process's terminal for as long as it is held; it ends with the process, too. */
class RawMode implements Disposable {
  readonly #modes: ScreenModes;
  readonly #restore = (): void => this[Symbol.dispose]();
  readonly #onSignal: (signal: NodeJS.Signals) => void;
  #held = true;

  constructor(modes: ScreenModes, onSignal: (signal: NodeJS.Signals) => void) {
    this.#modes = modes;
    this.#onSignal = onSignal;
    try {
      process.stdin.setRawMode(true);
    } catch (cause) {
      throw new CaissonError("internal", "The terminal could not be put into raw mode.", { cause });
    }
    process.once("exit", this.#restore);
    process.on("SIGTERM", this.#onSignal);
    process.on("SIGHUP", this.#onSignal);
  }

  [Symbol.dispose](): void {
    if (!this.#held) return;
    this.#held = false;
    process.off("exit", this.#restore);
    process.off("SIGTERM", this.#onSignal);
    process.off("SIGHUP", this.#onSignal);
    process.stdin.setRawMode(false);
    process.stdout.write(this.#modes.undo());
  }
}
