/** Modes that a program may leave a terminal in, with the state that a shell expects. */
const MODES: Readonly<Record<string, "h" | "l">> = {
  "1": "l", // keys of applications
  "25": "h", // the cursor shows
  "1000": "l", // the mouse is told
  "1002": "l",
  "1003": "l",
  "1005": "l",
  "1006": "l",
  "1015": "l",
  "1004": "l", // focus is told
  "2004": "l", // pastes are marked
  "47": "l", // the other screen
  "1047": "l",
  "1049": "l",
};

/** Longest beginning of a sequence that may end a piece of output, in bytes. */
const CARRY = 32;

/** Follows what a program does to the terminal, so that it can be undone when the program is left. */
export class ScreenModes {
  readonly #changed = new Set<string>();
  #carry = "";

  /** Whether the program draws on the other screen, as editors do. */
  get fullScreen(): boolean {
    return ["47", "1047", "1049"].some((mode) => this.#changed.has(mode));
  }

  /** Takes output on its way to the terminal. */
  take(bytes: Uint8Array): void {
    const text = this.#carry + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    // What is not complete yet is looked at again, with what follows.
    for (const sequence of text.split("\x1b[?").slice(1)) {
      const [, modes = "", state] = /^([0-9;]{1,24})([hl])/.exec(sequence) ?? [];
      for (const mode of modes.split(";")) {
        if (MODES[mode] === undefined) continue;
        if (MODES[mode] === state) this.#changed.delete(mode);
        else this.#changed.add(mode);
      }
    }
    const last = text.lastIndexOf("\x1b");
    this.#carry = last >= 0 && text.length - last < CARRY ? text.slice(last) : "";
  }

  /** What puts the terminal right again; empty when nothing is wrong. */
  undo(): string {
    return [...this.#changed].map((mode) => `\x1b[?${mode}${MODES[mode]}`).join("") + (this.#changed.size > 0 ? "\x1b[m" : "");
  }
}
