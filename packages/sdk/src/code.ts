import type { CodeContext, CodeRecord, RunCode } from "@caisson/contract";
import { CaissonApiError, errorFromWire } from "./api-error.ts";
import type { CallOptions } from "./call-options.ts";
import type {
  CodeEnd,
  CodeEvent,
  CodeOutcome,
  CodeResult,
  CreateContextOptions,
  RunCodeOptions,
  StreamCodeOptions,
} from "./code-options.ts";
import type { HttpClient } from "./http-client.ts";
import { readNdjson } from "./ndjson.ts";

/** Longest line of a stream, in bytes: a dozen formats of one value, 4 MiB each. */
const MAX_RECORD = 67_108_864;
/** Time for interrupting code whose caller left, in ms. */
const ABANDON_MS = 10_000;
/** Time for a context to be free and to begin, in ms: longer than the server gives it, so that its answer comes first. */
const BEGIN_MS = 150_000;
/** Most characters of a stream that an outcome keeps. */
const MAX_OUTPUT = 67_108_864;
/** Most results of one outcome. */
const MAX_RESULTS = 1_000;

/**
 * Code in interpreters that keep their state between calls: `sandbox.code`.
 *
 * ```ts
 * await sandbox.code.run("x = 6");
 * const { text } = await sandbox.code.run("x * 7"); // 42
 * ```
 */
export class Code {
  readonly #http: HttpClient;
  readonly #path: string;

  /** Made by `Sandbox`. */
  constructor(http: HttpClient, sandboxId: string) {
    this.#http = http;
    this.#path = `/sandboxes/${encodeURIComponent(sandboxId)}/code`;
  }

  /**
   * Runs code to its end. An exception in it is a result, whose `status` is `error`. When the call is aborted, the code is
   * interrupted.
   *
   * ```ts
   * const { results } = await sandbox.code.run("[{'n': 1, 'square': 1}, {'n': 2, 'square': 4}]");
   * const table = results[0]?.formats["application/vnd.caisson.table+json"];
   *
   * const failed = await sandbox.code.run("1 / 0");
   * console.log(failed.error?.name, failed.error?.traceback); // ZeroDivisionError …
   *
   * await sandbox.code.run("console.log(await Promise.resolve(42))", {
   *   language: "javascript",
   *   onStdout: (text) => process.stdout.write(text),
   * });
   * ```
   */
  async run(code: string, options: RunCodeOptions = {}): Promise<CodeOutcome> {
    const { maxOutput = MAX_OUTPUT } = options;
    const text = { stdout: "", stderr: "" };
    const results: CodeResult[] = [];
    let truncated = false;
    for await (const event of this.stream(code, options)) {
      if (event.type === "stdout" || event.type === "stderr") {
        const piece = event.text.slice(0, Math.max(0, maxOutput - text[event.type].length));
        text[event.type] += piece;
        truncated ||= piece.length < event.text.length;
        await (event.type === "stdout" ? options.onStdout : options.onStderr)?.(event.text);
      } else if (event.type === "result") {
        const { type: _type, ...result } = event;
        if (results.length < MAX_RESULTS) results.push(result);
        else {
          truncated = true;
          if (result.isMainResult) results[MAX_RESULTS] = result;
        }
        await options.onResult?.(result);
      } else if (event.type === "end") {
        const { type: _type, ...end } = event;
        const main: unknown = results.findLast((result) => result.isMainResult)?.formats["text/plain"];
        return { ...end, ...text, results, truncated, text: typeof main === "string" ? main : undefined };
      }
    }
    throw new CaissonApiError("protocol_error", "The code ended without a status.");
  }

  /**
   * Runs code and yields what it says while it runs; the last event is `end`. Leaving the loop early interrupts the code.
   *
   * ```ts
   * for await (const event of sandbox.code.stream("for i in range(3): print(i)")) {
   *   if (event.type === "stdout") process.stdout.write(event.text);
   * }
   * ```
   */
  async *stream(code: string, options: StreamCodeOptions = {}): AsyncGenerator<CodeEvent, void, void> {
    const { signal, timeoutMs = BEGIN_MS } = options;
    const json = { ...runBody(code, options), stream: true };
    const { body } = await this.#http.stream({ signal, timeoutMs, method: "POST", path: this.#path, json });
    let contextId: number | undefined;
    let ended = false;
    try {
      for await (const record of readNdjson(body, MAX_RECORD)) {
        const event = toEvent(record as CodeRecord);
        if (event === undefined) continue;
        if (event.type === "start") contextId = event.contextId;
        if (event.type === "end") ended = true;
        yield event;
        if (ended) return;
      }
      throw new CaissonApiError("protocol_error", "The server's stream ended without telling how the code ended.");
    } finally {
      // Whatever made the caller leave matters more than whether this works; the code's timeout ends what is left.
      if (!ended && contextId !== undefined) await this.interrupt(contextId, { timeoutMs: ABANDON_MS }).catch(() => undefined);
    }
  }

  /**
   * Starts an interpreter of its own, beside the default one; throws `unsupported` when the image lacks it.
   *
   * ```ts
   * const context = await sandbox.code.createContext({ language: "javascript", env: { WHO: "me" } });
   * const { text } = await sandbox.code.run("process.env.WHO", { context }); // 'me'
   * ```
   */
  async createContext(options: CreateContextOptions = {}): Promise<CodeContext> {
    const { language = "python", cwd, user, env } = options;
    const json = {
      language,
      ...(cwd === undefined ? {} : { workdir: cwd }),
      ...(user === undefined ? {} : { user }),
      ...(env === undefined ? {} : { env }),
    };
    return this.#http.json({ ...call(options), method: "POST", path: `${this.#path}/contexts`, json });
  }

  /**
   * The contexts that live, the default ones among them.
   *
   * ```ts
   * await sandbox.code.run("x = 1");
   * for (const { context_id, language, is_default } of await sandbox.code.contexts()) console.log(context_id, language, is_default);
   * ```
   */
  async contexts(options: CallOptions = {}): Promise<readonly CodeContext[]> {
    return (await this.#http.json<{ items: CodeContext[] }>({ ...call(options), method: "GET", path: `${this.#path}/contexts` })).items;
  }

  /**
   * Interrupts the code that runs in a context, as Ctrl-C does; its state stays.
   *
   * ```ts
   * const context = await sandbox.code.createContext();
   * const running = sandbox.code.run("print('begun')\nwhile True: pass", {
   *   context,
   *   onStdout: () => sandbox.code.interrupt(context.context_id),
   * });
   * console.log((await running).status); // interrupted
   * ```
   */
  async interrupt(contextId: number, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ ...call(options), method: "POST", path: `${this.#path}/contexts/${contextId}/interrupt` });
  }

  /**
   * Kills a context and starts another of the same language, user and working directory, which has an id of its own.
   *
   * ```ts
   * const { context_id } = await sandbox.code.createContext();
   * const fresh = await sandbox.code.restart(context_id);
   * ```
   */
  async restart(contextId: number, options: CallOptions & Pick<CreateContextOptions, "env"> = {}): Promise<CodeContext> {
    const json = options.env === undefined ? {} : { env: options.env };
    return this.#http.json({ ...call(options), method: "POST", path: `${this.#path}/contexts/${contextId}/restart`, json });
  }

  /**
   * Kills a context and all that its code started.
   *
   * ```ts
   * const { context_id } = await sandbox.code.createContext();
   * await sandbox.code.remove(context_id);
   * ```
   */
  async remove(contextId: number, options: CallOptions = {}): Promise<void> {
    await this.#http.json({ ...call(options), method: "DELETE", path: `${this.#path}/contexts/${contextId}`, idempotent: false });
  }
}

function call(options: CallOptions): CallOptions {
  return { signal: options.signal, timeoutMs: options.timeoutMs };
}

function runBody(code: string, { language, context, timeout, env, cwd, user }: StreamCodeOptions): RunCode {
  const contextId = typeof context === "object" ? context.context_id : context;
  return {
    code,
    ...(language === undefined ? {} : { language }),
    ...(contextId === undefined ? {} : { context_id: contextId }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(env === undefined ? {} : { env: { ...env } }),
    ...(cwd === undefined ? {} : { workdir: cwd }),
    ...(user === undefined ? {} : { user }),
  };
}

/** An event from its record; undefined for kinds that this version does not know. */
function toEvent(record: CodeRecord): CodeEvent | undefined {
  switch (record.type) {
    case "start":
      return { type: "start", executionId: record.execution_id, contextId: record.context_id };
    case "stdout":
    case "stderr":
      return { type: record.type, text: record.text };
    case "result":
      return { type: "result", isMainResult: record.is_main_result, formats: record.formats, omitted: record.omitted };
    case "end":
      return { type: "end", ...toEnd(record) };
    case "error":
      throw errorFromWire(record);
    default:
      return undefined;
  }
}

function toEnd(record: Extract<CodeRecord, { type: "end" }>): CodeEnd {
  return {
    executionId: record.execution_id,
    contextId: record.context_id,
    status: record.status,
    error: record.error,
    durationMs: record.duration_ms,
    contextEnded: record.context_ended,
  };
}
