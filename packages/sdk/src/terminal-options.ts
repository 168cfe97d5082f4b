import type { CaissonApiError } from "./api-error.ts";
import type { ProcessOptions } from "./command-options.ts";
import type { Command } from "./exec-body.ts";
import type { TerminalSize } from "./processes.ts";

/** What happens to a terminal beside its output. */
export type TerminalEvent =
  /** The connection is there (again). */
  | { readonly type: "connected" }
  /** The connection broke and is made again; `error` says why. */
  | { readonly type: "reconnecting"; readonly error: CaissonApiError }
  /** Bytes of the output were dropped before they could be sent: the reader came too late. */
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  /** What is typed is not taken (any more). */
  | { readonly type: "stdin_closed"; readonly message: string };

/** Options of every terminal. */
export interface TerminalOptions {
  /** Called with what the terminal shows; it is awaited, so a slow one slows the process. @default iterate the terminal */
  readonly onData?: ((bytes: Uint8Array) => void | Promise<void>) | undefined;
  /** Called with what happens beside. */
  readonly onEvent?: ((event: TerminalEvent) => void) | undefined;
  /** Longest time without a connection before it is given up, in ms. @default 60 000 */
  readonly reconnectMs?: number | undefined;
  /** Bytes of output that may be on their way to a reader that does not take them. @default 262 144 */
  readonly window?: number | undefined;
  /** Disconnects; the process lives on. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `pty.create`. */
export interface CreateTerminal extends TerminalSize, TerminalOptions, ProcessOptions {
  /** A shell line, or a program with its arguments. @default bash where there is one, else sh */
  readonly command?: Command | undefined;
  /** Kill the process when the connection breaks or ends. */
  readonly killOnDisconnect?: boolean | undefined;
}

/** Options of `pty.connect`. */
export interface ConnectTerminal extends TerminalOptions {
  /** First byte wanted. @default the oldest kept */
  readonly from?: number | undefined;
  /** The size it gets. @default as it is */
  readonly size?: TerminalSize | undefined;
}
