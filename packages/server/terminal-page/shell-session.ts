import type { Sandbox, Terminal, TerminalOptions } from "@caisson/sdk";
import type { Size } from "./screen.ts";

/** The label of shells of this page, by which they are found again. */
const TAG = "terminal";

/** Bytes of output that fill a screen with what it showed, and some. */
const SCREENFUL = 65_536;

/** Time between two sizes that make a program draw anew, in ms: told together, they would be none. */
const REDRAW_MS = 60;

/** The shell of this page in one sandbox, which outlives the page. */
export class ShellSession {
  readonly #sandbox: Sandbox;
  readonly #name: string;

  constructor(sandbox: Sandbox) {
    this.#sandbox = sandbox;
    this.#name = `caisson.process.${sandbox.id}`;
  }

  /** Comes back to the shell that there is: this tab's, else the newest; starts one when there is none. */
  async open(options: TerminalOptions, size: Size): Promise<Terminal> {
    const found = await this.#find();
    if (found === undefined) return this.create(options, size);
    const from = Math.max(found.stdout.start, found.stdout.end - SCREENFUL);
    const terminal = await this.#sandbox.pty.connect(found.process_id, { ...options, from });
    void redraw(terminal, size);
    return this.#keep(terminal);
  }

  /** Starts a shell. */
  async create(options: TerminalOptions, size: Size): Promise<Terminal> {
    return this.#keep(await this.#sandbox.pty.create({ ...options, ...size, timeout: "0", tag: TAG }));
  }

  #keep(terminal: Terminal): Terminal {
    sessionStorage.setItem(this.#name, String(terminal.processId));
    return terminal;
  }

  async #find(): Promise<Awaited<ReturnType<Sandbox["processes"]["get"]>> | undefined> {
    const running = await this.#sandbox.pty.list({ tag: TAG });
    const mine = Number(sessionStorage.getItem(this.#name));
    return running.find((process) => process.process_id === mine) ?? running.toSorted((a, b) => b.process_id - a.process_id)[0];
  }
}

/** Makes what runs in a terminal draw its screen anew, for this size. */
async function redraw(terminal: Terminal, { cols, rows }: Size): Promise<void> {
  terminal.resize({ cols, rows: Math.max(1, rows - 1) });
  await new Promise((resolve) => setTimeout(resolve, REDRAW_MS));
  terminal.resize({ cols, rows });
}
