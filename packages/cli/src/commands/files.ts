import { Sandbox, type FileInfo, type WatchItem } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { checkDuration, collectText, parseWhole } from "../options/parse-options.ts";
import { parsePlace, parseSandboxPlace } from "../options/place.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable, printableJson } from "../terminal/printable.ts";
import { dim } from "../terminal/style.ts";
import { print, printJson, writeOut } from "../terminal/write-out.ts";

interface FileOptions extends CommonOptions {
  readonly user?: string;
}

/** Longest line of a sandbox that is shown. */
const WIDTH = 4096;

/** `caisson files ls|find|grep|watch|sign|rm|mv`. */
export function addFilesCommands(program: Command, done: Done): void {
  const files = program.command("files").description("files in a sandbox: list, search, watch, share");
  const add = (name: string, options: Parameters<typeof leaf>[2]): Command =>
    leaf(files, name, options).option("-u, --user <user>", "as whom in the sandbox");
  add("ls <place>", { description: "list a folder", examples: ["caisson files ls $ID:/home/user", "caisson files ls --depth 3 $ID:/srv"] })
    .option("--depth <levels>", "levels to list", parseWhole, 1)
    .action(action(done, ls));
  add("find <place> <pattern>", {
    description: "find files by a pattern of *, ?, […] and **",
    examples: ["caisson files find $ID:/home '**/*.py'"],
  }).action(action(done, find));
  add("grep <pattern> <place>", {
    description: "search in files; the exit code is 1 when nothing matches",
    examples: ["caisson files grep 'def main' $ID:/home/user", "caisson files grep -F 'a.b(' --include '*.js' $ID:/srv"],
  })
    .option("-F, --fixed", "the pattern is plain text, not a regular expression")
    .option("-i, --ignore-case", "upper and lower case are the same")
    .option("--include <glob>", "only files that match; repeatable", collectText)
    .option("--exclude <glob>", "no files or folders that match; repeatable", collectText)
    .option("-m, --max-count <number>", "stop after so many matches", parseWhole)
    .action(action(done, grep));
  add("watch <place>", { description: "show changes as they happen, until Ctrl-C", examples: ["caisson files watch -r $ID:/home/user"] })
    .option("-r, --recursive", "also all folders below")
    .action(action(done, watch));
  add("sign <place>", {
    description: "make a URL that opens one file without a key",
    examples: ["caisson files sign --ttl 1h $ID:/home/user/report.pdf", "curl -T data.csv $(caisson files sign --write $ID:/tmp/data.csv)"],
  })
    .option("--write", "for writing (PUT), not reading")
    .option("--ttl <duration>", "how long it works, at most 168h", checkDuration, "15m")
    .action(action(done, sign));
  add("rm <place...>", { description: "remove files", examples: ["caisson files rm -r $ID:/tmp/build"] })
    .option("-r, --recursive", "also folders, with all that is in them")
    .action(action(done, rm));
  add("mv <from> <to>", { description: "move or rename within a sandbox", examples: ["caisson files mv $ID:/tmp/a /tmp/b"] }).action(
    action(done, mv),
  );
}

async function open(
  place: string,
  options: FileOptions,
  signal?: AbortSignal,
): Promise<{ readonly sandbox: Sandbox; readonly path: string }> {
  const { sandbox, path } = parseSandboxPlace(place);
  return { sandbox: await Sandbox.connect(sandbox, { client: connect(options), signal }), path };
}

async function ls(place: string, options: FileOptions & { readonly depth: number }): Promise<void> {
  const { sandbox, path } = await open(place, options);
  const found = await sandbox.files.list(path, { user: options.user, depth: options.depth });
  if (options.json) return printJson(found);
  const start = path.endsWith("/") ? path : `${path}/`;
  for (const entry of found.items.toSorted((a, b) => (a.path < b.path ? -1 : 1)))
    print(describe(entry, entry.path.startsWith(start) ? entry.path.slice(start.length) : entry.path));
  if (found.truncated) process.stderr.write("caisson: there is more; list a part of it\n");
}

async function find(place: string, pattern: string, options: FileOptions): Promise<void> {
  const { sandbox, path } = await open(place, options);
  const found = await sandbox.files.glob(pattern, { cwd: path, user: options.user });
  if (options.json) return printJson(found);
  for (const entry of found.items) print(printable(entry.path, WIDTH));
  if (found.truncated) process.stderr.write("caisson: there is more; narrow the pattern\n");
}

interface GrepOptions extends FileOptions {
  readonly fixed?: true;
  readonly ignoreCase?: true;
  readonly include?: readonly string[];
  readonly exclude?: readonly string[];
  readonly maxCount?: number;
}

async function grep(pattern: string, place: string, options: GrepOptions): Promise<number> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    const { sandbox, path } = await open(place, options, signal);
    const { user, fixed, ignoreCase, include, exclude, maxCount: limit } = options;
    let count = 0;
    for await (const match of sandbox.files.search(path, pattern, { user, fixed, ignoreCase, include, exclude, limit, signal })) {
      count += 1;
      const line = options.json ? printableJson(match) : `${printable(match.path, WIDTH)}:${match.line}:${printable(match.text, WIDTH)}`;
      await writeOut("stdout", `${line}\n`);
    }
    return count === 0 ? 1 : 0;
  } catch (error) {
    return exitOfInterruption(error);
  }
}

async function watch(place: string, options: FileOptions & { readonly recursive?: true }): Promise<number | void> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    const { sandbox, path } = await open(place, options, signal);
    for await (const item of sandbox.files.watch(path, { user: options.user, recursive: options.recursive, signal })) {
      if (options.json) await writeOut("stdout", `${printableJson(item)}\n`);
      else tell(item, path);
    }
  } catch (error) {
    return exitOfInterruption(error);
  }
}

function tell(item: WatchItem, path: string): void {
  switch (item.type) {
    case "change": {
      const name = printable(`${item.path}${item.is_dir ? "/" : ""}`, WIDTH);
      return print(`${item.kind.padEnd(10)} ${name}${item.from === undefined ? "" : ` (from ${printable(item.from, WIDTH)})`}`);
    }
    case "ready":
      return void process.stderr.write(`${dim(`watching ${printable(path, WIDTH)}`)}\n`);
    case "gap":
    case "overflow":
      return void process.stderr.write("caisson: changes were lost, too many came at once\n");
    case "reset":
      return void process.stderr.write("caisson: the watch was made anew; changes may have been missed\n");
    default:
      return item satisfies never;
  }
}

async function sign(place: string, options: FileOptions & { readonly write?: true; readonly ttl: string }): Promise<void> {
  const { sandbox, path } = await open(place, options);
  const signed = await sandbox.files.sign(path, options.write ? "write" : "read", { user: options.user, ttl: options.ttl });
  if (options.json) printJson(signed);
  else print(signed.url);
}

async function rm(places: readonly string[], options: FileOptions & { readonly recursive?: true }): Promise<void> {
  for (const place of places) {
    const { sandbox, path } = await open(place, options);
    await sandbox.files.remove(path, { user: options.user, recursive: options.recursive === true });
  }
  if (options.json) printJson(places);
}

async function mv(from: string, to: string, options: FileOptions): Promise<void> {
  const { sandbox, path } = await open(from, options);
  const target = parsePlace(to);
  if (target.on === "sandbox" && target.sandbox !== sandbox.id)
    throw usageError("Both must be in the same sandbox.", "Copy with: caisson cp");
  if (!target.path.startsWith("/")) throw usageError(`${to} is not an absolute path.`, "Write the new path from / on.");
  await sandbox.files.move(path, target.path, { user: options.user });
  if (options.json) printJson({ from: path, to: target.path });
}

function describe(entry: FileInfo, name: string): string {
  const kind = { file: "-", directory: "d", symlink: "l", fifo: "p", socket: "s", block: "b", char: "c" }[entry.type];
  const owner = printable(entry.user ?? String(entry.uid), 16).padEnd(8);
  const target = entry.target === undefined ? "" : ` -> ${printable(entry.target, WIDTH)}`;
  return `${kind}${entry.mode} ${owner} ${String(entry.size).padStart(12)} ${entry.mod_time.slice(0, 19)}Z ${printable(name, WIDTH)}${target}`;
}
