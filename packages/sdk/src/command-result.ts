import type { CommandEvent, CommandExit, OutputStream } from "./command-event.ts";

/** A command that has ended. */
export interface CommandResult extends Pick<CommandExit, "exitCode" | "signal" | "durationMs"> {
  readonly processId: number;
  /** Standard output as text. */
  readonly stdout: string;
  /** Standard error as text. */
  readonly stderr: string;
  /** Standard output as it was written; the text form replaces what is not UTF-8. */
  readonly stdoutRaw: Uint8Array;
  readonly stderrRaw: Uint8Array;
  /** Whether less is here than was written: past `maxOutput`, or dropped in the sandbox. */
  readonly truncated: boolean;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Gathers what a command says into its result. */
export class ResultCollector {
  readonly #limit: number;
  readonly #pieces: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
  readonly #size: Record<OutputStream, number> = { stdout: 0, stderr: 0 };
  #processId = 0;
  #truncated = false;

  /** `limit`: most bytes kept per stream. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes one event in. */
  add(event: CommandEvent): void {
    if (event.type === "start") this.#processId = event.processId;
    else if (event.type === "gap") this.#truncated = true;
    else if (event.type === "output") {
      const room = this.#limit - this.#size[event.stream];
      if (event.bytes.length > room) this.#truncated = true;
      const piece = event.bytes.subarray(0, Math.max(0, room));
      if (piece.length === 0) return;
      this.#pieces[event.stream].push(piece);
      this.#size[event.stream] += piece.length;
    }
  }

  /** The result, once the command has ended. */
  finish(exit: CommandExit): CommandResult {
    const stdoutRaw = concat(this.#pieces.stdout, this.#size.stdout);
    const stderrRaw = concat(this.#pieces.stderr, this.#size.stderr);
    return {
      processId: this.#processId,
      exitCode: exit.exitCode,
      signal: exit.signal,
      durationMs: exit.durationMs,
      stdout: decoder.decode(stdoutRaw),
      stderr: decoder.decode(stderrRaw),
      stdoutRaw,
      stderrRaw,
      truncated: this.#truncated,
    };
  }
}

function concat(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
