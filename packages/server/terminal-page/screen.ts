import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

const THEME = {
  background: "#0e1116",
  foreground: "#d7dde6",
  cursor: "#d7dde6",
  selectionBackground: "#2f4a73",
  black: "#1c2129",
  red: "#ef6b6b",
  green: "#4cc38a",
  yellow: "#f2b84b",
  blue: "#5b9cf5",
  magenta: "#c08bf0",
  cyan: "#4ec9d4",
  white: "#d7dde6",
  brightBlack: "#667182",
  brightRed: "#ff8f8f",
  brightGreen: "#78dcab",
  brightYellow: "#ffd27a",
  brightBlue: "#8cbcff",
  brightMagenta: "#dab4ff",
  brightCyan: "#86e3ea",
  brightWhite: "#ffffff",
};

/** Bytes that may wait to be drawn before whoever brings more waits. */
const DRAW_AHEAD = 131_072;

/** Size in characters. */
export interface Size {
  readonly cols: number;
  readonly rows: number;
}

/** What is done with what a person does. */
export interface ScreenEvents {
  readonly typed: (text: string) => void;
  readonly resized: (size: Size) => void;
  readonly titled: (title: string) => void;
}

/** The emulated terminal, as large as its place. */
export class Screen {
  readonly #terminal: Terminal;
  #undrawn = 0;

  constructor(place: HTMLElement, events: ScreenEvents) {
    const terminal = new Terminal({
      theme: THEME,
      fontFamily: 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace',
      fontSize: 14,
      cursorBlink: true,
      scrollback: 10_000,
    });
    const fit = new FitAddon();
    terminal.loadAddon(fit);
    terminal.open(place);
    fit.fit();
    terminal.onData(events.typed);
    terminal.onResize(({ cols, rows }) => events.resized({ cols, rows }));
    terminal.onTitleChange(events.titled);
    new ResizeObserver(() => fit.fit()).observe(place);
    this.#terminal = terminal;
  }

  get size(): Size {
    const { cols, rows } = this.#terminal;
    return { cols, rows };
  }

  /** Draws output; resolves when there is room for more, which is what keeps a flood at bay. */
  write(bytes: Uint8Array): Promise<void> {
    this.#undrawn += bytes.length;
    return new Promise((resolve) => {
      this.#terminal.write(bytes, () => {
        this.#undrawn -= bytes.length;
        resolve();
      });
      if (this.#undrawn <= DRAW_AHEAD) resolve();
    });
  }

  /** Forgets all it shows. */
  clear(): void {
    this.#terminal.reset();
  }

  focus(): void {
    this.#terminal.focus();
  }
}
