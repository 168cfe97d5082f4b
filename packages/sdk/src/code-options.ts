import type { CodeContext, CodeError, CodeResult as CodeResultData } from "@caisson/contract";
import type { CallOptions } from "./call-options.ts";

/** A language that code contexts speak. */
export type CodeLanguage = CodeContext["language"];

/** Options of `code.stream`. */
export interface StreamCodeOptions extends CallOptions {
  /** The language. @default that of the context, else python */
  readonly language?: CodeLanguage | undefined;
  /** A context or its id. @default the default context of the language and user */
  readonly context?: Pick<CodeContext, "context_id"> | number | undefined;
  /** Time after which the code is interrupted, such as `30s`; `0` for none. @default the server's */
  readonly timeout?: string | undefined;
  /** Set in the context before the code runs; it stays. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Folder that the context changes to before the code runs; it stays there. */
  readonly cwd?: string | undefined;
  /** Whose default context. @default the sandbox's user */
  readonly user?: string | undefined;
}

/** Options of `code.run`. */
export interface RunCodeOptions extends StreamCodeOptions {
  /** Called with what the code writes while it runs; a promise it returns is awaited. */
  readonly onStdout?: ((text: string) => unknown) | undefined;
  /** The same for standard error. */
  readonly onStderr?: ((text: string) => unknown) | undefined;
  /** Called with every value that is shown. */
  readonly onResult?: ((result: CodeResult) => unknown) | undefined;
  /** Most characters of each stream that the outcome keeps; the callbacks get all. @default 67 108 864 */
  readonly maxOutput?: number | undefined;
}

/** Options of `code.createContext`. */
export interface CreateContextOptions extends CallOptions {
  /** @default python */
  readonly language?: CodeLanguage | undefined;
  /** Working directory. @default the sandbox's */
  readonly cwd?: string | undefined;
  /** As whom. @default the sandbox's user */
  readonly user?: string | undefined;
  /** Environment variables. */
  readonly env?: Readonly<Record<string, string>> | undefined;
}

/** A value that code showed. */
export interface CodeResult {
  /** Whether it is the value of the last expression, rather than shown with `display`. */
  readonly isMainResult: boolean;
  /** Content by format, such as `text/plain`, `image/png` (in base64) or `application/json` (a value). */
  readonly formats: CodeResultData["formats"];
  /** Formats that were too large. */
  readonly omitted: readonly string[];
}

/** How code ended. */
export interface CodeEnd {
  readonly executionId: string;
  readonly contextId: number;
  /** `error` is a result, not a failure of the call. */
  readonly status: "ok" | "error" | "interrupted" | "timed_out";
  /** Null when it ended well. */
  readonly error: CodeError | null;
  readonly durationMs: number;
  /** Whether the context has gone with it. */
  readonly contextEnded: boolean;
}

/** What running code says, in order; `start` comes first and `end` last, exactly once each. */
export type CodeEvent =
  | { readonly type: "start"; readonly executionId: string; readonly contextId: number }
  | { readonly type: "stdout" | "stderr"; readonly text: string }
  | ({ readonly type: "result" } & CodeResult)
  | ({ readonly type: "end" } & CodeEnd);

/** Code that has ended. */
export interface CodeOutcome extends CodeEnd {
  readonly stdout: string;
  readonly stderr: string;
  /** At most 1000, and the main one. */
  readonly results: readonly CodeResult[];
  /** Whether less is here than was written or shown: past `maxOutput`, or more results than are kept. */
  readonly truncated: boolean;
  /** The value of the last expression as text; undefined when it has none. */
  readonly text: string | undefined;
}
