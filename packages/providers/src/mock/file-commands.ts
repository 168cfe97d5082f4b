import { CaissonError, isCaissonError } from "@caisson/contract";
import { FileSink, fileSource } from "./file-streams.ts";
import { split } from "./mock-files.ts";
import type { MockNode } from "./mock-node.ts";
import { absolute, put, type CommandCall, type MockCommand } from "./shell-state.ts";

/** Arguments as flags (letters) and the rest. */
function flags(args: readonly string[]): { letters: Set<string>; rest: string[] } {
  const letters = new Set<string>();
  const rest: string[] = [];
  for (const arg of args) {
    if (/^-[a-zA-Z]+$/.test(arg) && rest.length === 0) for (const letter of arg.slice(1)) letters.add(letter);
    else if (arg !== "--") rest.push(arg);
  }
  return { letters, rest };
}

async function ls({ args, io, state }: CommandCall): Promise<number> {
  const { letters, rest } = flags(args);
  for (const path of rest.length === 0 ? ["."] : rest) {
    const where = absolute(state, path);
    const node = state.files.get(where, state.user);
    const names = node.type === "directory" ? state.files.list(where, state.user) : ([[path, node]] as const);
    for (const [name, entry] of names) {
      if (name.startsWith(".") && !letters.has("a")) continue;
      await put(io.stdout, `${letters.has("l") ? `${modeText(entry)} ${entry.uid} ${entry.gid} ` : ""}${name}\n`);
    }
  }
  return 0;
}

function modeText(node: MockNode): string {
  const kind = { file: "-", directory: "d", symlink: "l" }[node.type];
  const bits = [6, 3, 0].map((shift) => [4, 2, 1].map((bit, i) => ((node.mode >> shift) & bit ? "rwx"[i] : "-")).join(""));
  return kind + bits.join("");
}

function mkdir({ args, state }: CommandCall): number {
  const { letters, rest } = flags(args);
  for (const path of rest) {
    if (letters.has("p")) state.files.makeDirs(absolute(state, path), state.user);
    else state.files.makeDir(absolute(state, path), state.user);
  }
  return 0;
}

function rm({ args, state }: CommandCall): number {
  const { letters, rest } = flags(args);
  const tree = letters.has("r") || letters.has("R");
  for (const path of rest) {
    try {
      const where = absolute(state, path);
      if (!tree && state.files.get(where, state.user, "keep").type === "directory")
        throw new CaissonError("is_a_directory", `${path}: is a directory.`);
      state.files.remove(where, state.user, tree ? "tree" : "one");
    } catch (error) {
      if (!letters.has("f") || !isCaissonError(error, "not_found")) throw error;
    }
  }
  return 0;
}

function touch({ args, state }: CommandCall): number {
  for (const path of args) state.files.open(absolute(state, path), state.user, { create: 0o644 });
  return 0;
}

async function cp({ args, state }: CommandCall): Promise<number> {
  const [from = "", to = ""] = args;
  const source = fileSource(state, absolute(state, from));
  const sink = new FileSink(state, into(state, from, to), "truncate");
  for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) await sink.write(bytes);
  return 0;
}

function mv({ args, state }: CommandCall): number {
  const [from = "", to = ""] = args;
  state.files.move(absolute(state, from), into(state, from, to), state.user, "replace");
  return 0;
}

/** A target that is a directory takes the source under its own name. */
function into(state: CommandCall["state"], from: string, to: string): string {
  const target = absolute(state, to);
  const { node } = state.files.find(target, state.user, "follow");
  return node?.type === "directory" ? `${target}/${split(from).at(-1) ?? ""}` : target;
}

function ln({ args, state }: CommandCall): number {
  const { letters, rest } = flags(args);
  const [target, path] = rest;
  if (!letters.has("s") || target === undefined || path === undefined) return 1;
  state.files.symlink(target, absolute(state, path), state.user);
  return 0;
}

async function readlink({ args, io, state }: CommandCall): Promise<number> {
  const node = state.files.get(absolute(state, args[0] ?? ""), state.user, "keep");
  if (node.type !== "symlink") return 1;
  await put(io.stdout, `${node.target}\n`);
  return 0;
}

function chmod({ args, state }: CommandCall): number {
  const [mode = "", ...paths] = args;
  if (!/^[0-7]{3,4}$/.test(mode)) return 1;
  for (const path of paths) state.files.chmod(absolute(state, path), state.user, Number.parseInt(mode, 8));
  return 0;
}

async function tee({ args, io, state }: CommandCall): Promise<number> {
  const sinks = args.map((path) => new FileSink(state, absolute(state, path), "truncate"));
  for (let bytes = await io.stdin.read(); bytes !== undefined; bytes = await io.stdin.read()) {
    for (const sink of sinks) await sink.write(bytes);
    await put(io.stdout, bytes);
  }
  return 0;
}

function test({ name, args, state }: CommandCall): number {
  const [first = "", second = "", third = ""] = name === "[" ? args.slice(0, -1) : args;
  const look = (path: string, last: "follow" | "keep"): MockNode | undefined => {
    try {
      return state.files.find(absolute(state, path), state.user, last).node;
    } catch (error) {
      if (isCaissonError(error)) return undefined;
      throw error;
    }
  };
  const answers: Record<string, () => boolean> = {
    "-e": () => look(second, "follow") !== undefined,
    "-f": () => look(second, "follow")?.type === "file",
    "-d": () => look(second, "follow")?.type === "directory",
    "-L": () => look(second, "keep")?.type === "symlink",
    "-n": () => second !== "",
    "-z": () => second === "",
  };
  const comparisons: Record<string, () => boolean> = {
    "=": () => first === third,
    "!=": () => first !== third,
    "-eq": () => Number(first) === Number(third),
    "-gt": () => Number(first) > Number(third),
    "-lt": () => Number(first) < Number(third),
  };
  const holds = comparisons[second] ?? answers[first] ?? ((): boolean => first !== "");
  return Number(!holds());
}

async function cd({ args, io, state }: CommandCall): Promise<number> {
  const where = absolute(state, args[0] ?? state.env.get("HOME") ?? "/");
  const { node, path } = state.files.find(where, state.user, "follow");
  if (node?.type !== "directory") {
    await put(io.stderr, `sh: 1: cd: can't cd to ${args[0] ?? ""}\n`);
    return 2;
  }
  state.files.check(node, state.user, 1, where);
  state.cwd = path;
  return 0;
}

async function pwd({ io, state }: CommandCall): Promise<number> {
  await put(io.stdout, `${state.cwd}\n`);
  return 0;
}

/** Commands about files. */
export const FILE_COMMANDS: readonly (readonly [string, MockCommand])[] = [
  ["ls", ls],
  ["mkdir", mkdir],
  ["rm", rm],
  ["touch", touch],
  ["cp", cp],
  ["mv", mv],
  ["ln", ln],
  ["readlink", readlink],
  ["chmod", chmod],
  ["tee", tee],
  ["test", test],
  ["[", test],
  ["cd", cd],
  ["pwd", pwd],
];
