import { isCaissonError } from "@caisson/contract";
import { BytePipe } from "./byte-pipe.ts";
import { FILE_COMMANDS } from "./file-commands.ts";
import { FileSink, fileSource, NULL_SINK, NULL_SOURCE } from "./file-streams.ts";
import { PROCESS_COMMANDS } from "./process-commands.ts";
import { parseShell, ShellSyntaxError, type Command, type List, type Pipeline, type Redirection, type Word } from "./shell-syntax.ts";
import { absolute, BrokenPipe, ExitShell, put, reasonOf, type Io, type MockCommand, type ShellState } from "./shell-state.ts";
import { TEXT_COMMANDS } from "./text-commands.ts";

const SIGPIPE_STATUS = 141;
const COMMANDS: ReadonlyMap<string, MockCommand> = new Map([...TEXT_COMMANDS, ...FILE_COMMANDS, ...PROCESS_COMMANDS]);

/** Runs a script in a shell of its own; its exit code. */
export async function runScript(script: string, state: ShellState, io: Io): Promise<number> {
  let list: List;
  try {
    list = parseShell(script);
  } catch (error) {
    if (!(error instanceof ShellSyntaxError)) throw error;
    await put(io.stderr, `sh: 1: Syntax error: ${error.message}\n`);
    return 2;
  }
  return inSubshell(() => runList(list, state, io));
}

/** Runs one program by its arguments; its exit code. */
export async function runArgv(argv: readonly string[], state: ShellState, io: Io): Promise<number> {
  const [name = "", ...args] = argv;
  const base = name.replace(/^(\/usr)?\/bin\//, "");
  if (base === "sh" || base === "bash") return runShell(args, state, io);
  const command = state.commands.get(base) ?? COMMANDS.get(base);
  const run = (inner: readonly string[]): Promise<number> => runArgv(inner, state, io);
  try {
    if (command !== undefined) return await command({ name: base, args, io, state, run });
    return await runFile(name, args, state, io);
  } catch (error) {
    if (error instanceof BrokenPipe) return SIGPIPE_STATUS;
    if (!isCaissonError(error)) throw error;
    await put(io.stderr, `${base}: ${error.message.split(":")[0]}: ${reasonOf(error)}\n`);
    return 1;
  }
}

async function runShell(args: readonly string[], state: ShellState, io: Io): Promise<number> {
  const inner = copy(state);
  if (args[0] === "-c") {
    inner.args = args.slice(2).length > 0 ? args.slice(2) : ["sh"];
    return runScript(args[1] ?? "", inner, io);
  }
  if (args[0] !== undefined) return runFile(args[0], args.slice(1), inner, io, "by sh");
  const chunks: Uint8Array[] = [];
  for (let bytes = await io.stdin.read(); bytes !== undefined; bytes = await io.stdin.read()) chunks.push(bytes);
  return runScript(Buffer.concat(chunks).toString(), inner, { ...io, stdin: NULL_SOURCE });
}

async function runFile(
  name: string,
  args: readonly string[],
  state: ShellState,
  io: Io,
  how: "executed" | "by sh" = "executed",
): Promise<number> {
  const refuse = async (status: number, why: string): Promise<number> => {
    await put(io.stderr, `sh: 1: ${name}: ${why}\n`);
    return status;
  };
  if (how === "executed" && !name.includes("/")) return refuse(127, "not found");
  const { node } = ((): { node: ReturnType<ShellState["files"]["get"]> | undefined } => {
    try {
      return { node: state.files.get(absolute(state, name), state.user) };
    } catch (error) {
      if (isCaissonError(error)) return { node: undefined };
      throw error;
    }
  })();
  if (node === undefined) return refuse(127, "not found");
  const executable = how === "by sh" || (node.mode & 0o111) !== 0;
  if (node.type !== "file" || !executable) return refuse(126, "Permission denied");
  const inner = copy(state);
  inner.args = [name, ...args];
  return runScript(
    node.content
      .view()
      .toString()
      .replace(/^#!.*\n/, ""),
    inner,
    io,
  );
}

async function runList(list: List, state: ShellState, io: Io): Promise<number> {
  for (const { when, pipeline } of list) {
    state.process.killed.throwIfAborted();
    if (when === "success" && state.status !== 0) continue;
    if (when === "failure" && state.status === 0) continue;
    state.status = await runPipeline(pipeline, state, io);
  }
  return state.status;
}

async function runPipeline(pipeline: Pipeline, state: ShellState, io: Io): Promise<number> {
  const { commands, negated } = pipeline;
  let status: number;
  if (commands.length === 1) status = await runCommand(commands[0] as Command, state, io);
  else {
    const pipes = commands.slice(1).map(() => new BytePipe());
    for (const pipe of pipes) state.process.track(pipe);
    const statuses = await Promise.all(
      commands.map(async (command, i) => {
        const before = pipes[i - 1];
        const after = pipes[i];
        try {
          const streams = { stdin: before ?? io.stdin, stdout: after ?? io.stdout, stderr: io.stderr };
          return await inSubshell(() => runCommand(command, copy(state), streams));
        } finally {
          after?.end();
          before?.leave();
        }
      }),
    );
    status = statuses.at(-1) ?? 0;
  }
  return negated ? Number(status === 0) : status;
}

async function runCommand(command: Command, state: ShellState, outer: Io): Promise<number> {
  let io: Io;
  try {
    io = redirect(command.redirections, state, outer);
  } catch (error) {
    if (!isCaissonError(error)) throw error;
    await put(outer.stderr, `sh: 1: cannot open ${error.message.split(":")[0]}: ${reasonOf(error)}\n`);
    return 2;
  }
  if (command.kind === "group") return inSubshell(() => runList(command.body, copy(state), io));
  const assignments: [string, string][] = [];
  let words = command.words;
  for (let name = assignment(words[0]); name !== undefined; name = assignment(words[0])) {
    assignments.push([
      name,
      expand(words[0] as Word, state)
        .join(" ")
        .slice(name.length + 1),
    ]);
    words = words.slice(1);
  }
  const argv = words.flatMap((word) => expand(word, state));
  if (argv.length === 0) {
    for (const [name, value] of assignments) state.env.set(name, value);
    return 0;
  }
  if (assignments.length === 0) return runArgv(argv, state, io);
  const inner = copy(state);
  for (const [name, value] of assignments) inner.env.set(name, value);
  return runArgv(argv, inner, io);
}

function redirect(redirections: readonly Redirection[], state: ShellState, outer: Io): Io {
  const io = { ...outer };
  for (const { fd, kind, target } of redirections) {
    const name = expand(target, state).join(" ");
    const key = fd === 0 ? "stdin" : fd === 1 ? "stdout" : "stderr";
    if (kind === "copy") {
      const from = name === "1" ? io.stdout : io.stderr;
      if (key !== "stdin") io[key] = from;
    } else if (kind === "read") io.stdin = name === "/dev/null" ? NULL_SOURCE : fileSource(state, absolute(state, name));
    else if (key !== "stdin") {
      const mode = kind === "append" ? "append" : "truncate";
      io[key] = name === "/dev/null" ? NULL_SINK : new FileSink(state, absolute(state, name), mode);
    }
  }
  return io;
}

/** The name that a word assigns to, when it is an assignment. */
function assignment(word: Word | undefined): string | undefined {
  const first = word?.[0];
  if (first === undefined || !("text" in first) || first.quoted) return undefined;
  return /^([A-Za-z_]\w*)=/.exec(first.text)?.[1];
}

/** A word with its variables put in; unquoted ones are split at white space. */
function expand(word: Word, state: ShellState): string[] {
  const fields: string[] = [];
  let current: string | undefined;
  for (const part of word) {
    const text = "text" in part ? part.text : variable(part.variable, state);
    if ("text" in part || part.quoted || assignment(word) !== undefined) {
      current = (current ?? "") + text;
      continue;
    }
    const pieces = text.split(/\s+/);
    pieces.forEach((piece, i) => {
      if (i > 0 && current !== undefined) {
        fields.push(current);
        current = undefined;
      }
      if (piece !== "") current = (current ?? "") + piece;
    });
  }
  if (current !== undefined) fields.push(current);
  return fields;
}

function variable(name: string, state: ShellState): string {
  if (name === "?") return String(state.status);
  if (name === "$") return String(state.process.pid);
  if (name === "#") return String(Math.max(0, state.args.length - 1));
  if (/^\d$/.test(name)) return state.args[Number(name)] ?? "";
  return state.env.get(name) ?? "";
}

function copy(state: ShellState): ShellState {
  return { ...state, env: new Map(state.env) };
}

async function inSubshell(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof ExitShell) return error.status;
    throw error;
  }
}
