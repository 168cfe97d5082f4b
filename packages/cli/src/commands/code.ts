import { readFile } from "node:fs/promises";
import { CaissonError, CODE_LANGUAGES, type CodeLanguage } from "@caisson/contract";
import { Sandbox, type CodeEvent, type Code } from "@caisson/sdk";
import { InvalidArgumentError, type Command } from "commander";
import { connect } from "../client/connect.ts";
import { codeRepl } from "../client/code-repl.ts";
import { checkDuration, collectEnv } from "../options/parse-options.ts";
import { OWN_FAILURE, usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printJson, writeOut } from "../terminal/write-out.ts";

interface CodeOptions extends CommonOptions {
  readonly language?: CodeLanguage;
  readonly code?: string;
  readonly context?: number;
  readonly timeout?: string;
  readonly user?: string;
  readonly workdir?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Exit codes of code that did not end well. */
const EXITS = { ok: 0, error: 1, timed_out: 124, interrupted: 130 } as const;

/** `caisson code <sandbox> [file]`: runs code in an interpreter that keeps its state. */
export function addCodeCommand(program: Command, done: Done): void {
  leaf(program, "code <sandbox> [file]", {
    description: "run code in an interpreter of a sandbox that keeps its state; without a file or -c, line by line from the terminal",
    failureExit: OWN_FAILURE,
    examples: [
      "caisson code $ID -c 'x = 6 * 7'",
      "caisson code $ID -c 'x'                                  # 42",
      "caisson code $ID --language javascript script.js",
      "generate | caisson code $ID -",
      "caisson code $ID                                         # a prompt",
    ],
  })
    .option("-c, --code <text>", "the code")
    .option("-l, --language <language>", "python, javascript or shell (default: python, or that of --context)", parseLanguage)
    .option("--context <id>", "context (default: the default one of the language)", parseContext)
    .option("-e, --env <name=value>", "variable set in the context; repeatable; NAME alone passes yours on", collectEnv)
    .option("-u, --user <user>", "user whose default context is used")
    .option("-w, --workdir <path>", "folder that the context changes to")
    .option("--timeout <duration>", "interrupt the code after this time; the exit code is then 124", checkDuration)
    .action(action(done, code, OWN_FAILURE));
}

function parseLanguage(text: string): CodeLanguage {
  const found = CODE_LANGUAGES.find((one) => one === text);
  if (found === undefined) throw new InvalidArgumentError(`It must be one of ${CODE_LANGUAGES.join(", ")}.`);
  return found;
}

function parseContext(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new InvalidArgumentError("It must be the number of a context.");
  return Number(text);
}

async function code(id: string, file: string | undefined, options: CodeOptions): Promise<number> {
  if (file !== undefined && options.code !== undefined) throw usageError("Both a file and -c were given.", "Leave one of them out.");
  using interrupt = new Interrupt();
  const run = {
    language: options.language,
    context: options.context,
    timeout: options.timeout,
    env: options.env,
    user: options.user,
    cwd: options.workdir,
  };
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options), signal: interrupt.signal });
    const typed = file === undefined && options.code === undefined;
    if (typed && process.stdin.isTTY) {
      interrupt[Symbol.dispose](); // at a prompt, Ctrl-C is for the code
      return await codeRepl(sandbox.code, run, relay);
    }
    const text = options.code ?? (await source(file ?? "-"));
    if (options.json === true) {
      const outcome = await sandbox.code.run(text, { ...run, signal: interrupt.signal });
      printJson({
        status: outcome.status,
        stdout: outcome.stdout,
        stderr: outcome.stderr,
        results: outcome.results.map(({ isMainResult, formats, omitted }) => ({ is_main_result: isMainResult, formats, omitted })),
        truncated: outcome.truncated,
        error: outcome.error,
        context_id: outcome.contextId,
        duration_ms: outcome.durationMs,
      });
      return EXITS[outcome.status];
    }
    return await relay(sandbox.code.stream(text, { ...run, signal: interrupt.signal }));
  } catch (error) {
    return exitOfInterruption(error);
  }
}

/** Passes on what code says; values as text. Returns the exit code: of a shell its own. */
async function relay(events: ReturnType<Code["stream"]>): Promise<number> {
  let exit: number | undefined;
  for await (const event of events) {
    if (event.type === "stdout" || event.type === "stderr") await writeOut(event.type, event.text);
    else if (event.type === "result") {
      exit = exitCodeOf(event) ?? exit;
      const text = exitCodeOf(event) === undefined ? event.formats["text/plain"] : undefined;
      if (typeof text === "string") await writeOut("stdout", `${text}\n`);
    } else if (event.type === "end") {
      if (event.error !== null) {
        const { name, message, traceback } = event.error;
        await writeOut("stderr", traceback === "" ? `${name}: ${message}\n` : traceback.replace(/\n?$/, "\n"));
      }
      return event.status === "ok" ? (exit ?? 0) : EXITS[event.status];
    }
  }
  throw new CaissonError("protocol_error", "The code ended without a status.");
}

/** The exit code in the result of shell code. */
function exitCodeOf(event: Extract<CodeEvent, { type: "result" }>): number | undefined {
  const value = event.formats["application/json"];
  const found: unknown = typeof value === "object" && value !== null && "exit_code" in value ? value.exit_code : undefined;
  // A dictionary of Python that looks like it is shown with its braces.
  return typeof found === "number" && event.formats["text/plain"] === String(found) ? found : undefined;
}

async function source(path: string): Promise<string> {
  if (path !== "-") {
    return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      throw usageError(`${path} cannot be read: ${error.code ?? error.message}.`, "Check the path.");
    });
  }
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) text += chunk as string;
  return text;
}
