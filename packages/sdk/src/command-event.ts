/** Which output of a command. */
export type OutputStream = "stdout" | "stderr";

/** What a running command says, in order; `start` comes first and `exit` last, exactly once each. */
export type CommandEvent =
  | {
      readonly type: "start";
      /** Id of the process in its sandbox; never used again there. */
      readonly processId: number;
      /** Process id inside the sandbox. */
      readonly pid: number;
    }
  | {
      readonly type: "output";
      readonly stream: OutputStream;
      /** Offset of the first byte in its stream. */
      readonly offset: number;
      /** Exactly what the command wrote. */
      readonly bytes: Uint8Array;
      /** The same as text; a character is never cut in two. */
      readonly text: string;
    }
  | {
      /** Bytes that the sandbox dropped before they could be sent; only with `onFull: "drop"` and for late readers. */
      readonly type: "gap";
      readonly stream: OutputStream;
      readonly from: number;
      readonly to: number;
    }
  | ({ readonly type: "exit" } & CommandExit);

/** How a command ended. */
export interface CommandExit {
  /** Exit status; 128 + n when signal n ended it. */
  readonly exitCode: number;
  /** Name of the signal that ended it, such as `KILL`. */
  readonly signal: string | null;
  /** Whether its timeout ended it. */
  readonly timedOut: boolean;
  readonly durationMs: number;
  /** Bytes written in all. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}
