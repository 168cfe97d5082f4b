import { CaissonError } from "@caisson/contract";
import { required, type GuestHandlers, type Params } from "@caisson/guest";
import type { IncomingCall } from "@caisson/link";
import picomatch from "picomatch";
import { everything } from "./mock-files.ts";
import type { MockGuest } from "./mock-guest.ts";
import { FileContent, type FileNode } from "./mock-node.ts";
import { mockUser, type MockUser } from "./mock-user.ts";

const READ = 4;
const WRITE = 2;
const BINARY_HEAD = 8192;
/** Most characters of a line shown with a match. */
const SHOWN = 1024;
const BATCH = 100;
const DEFAULT_LIMIT = 10_000;
const DEFAULT_FILE_BYTES = 67_108_864;

/** A file to look through. */
interface Chosen {
  readonly path: string;
  readonly node: FileNode;
}

/** What is looked for, and where. */
interface Question {
  readonly pattern: RegExp;
  readonly fixed: boolean;
  readonly user: MockUser;
  readonly files: readonly Chosen[];
  readonly skipped: number;
}

/** Search and Replace, by JavaScript's regular expressions: for tests, not in linear time. */
export function mockSearchHandlers(guest: MockGuest): GuestHandlers {
  function ask(params: Params): Omit<Question, "files" | "skipped"> & { readonly choose: (rights: number) => Question } {
    const path = required("path", params.path("path"));
    const text = required("pattern", params.text("pattern"));
    const fixed = params.flag("fixed", false);
    const ignoreCase = params.flag("ignore_case", false);
    const [include, exclude] = [params.texts("include"), params.texts("exclude") ?? []];
    const most = params.int("max_file_bytes", 1) ?? DEFAULT_FILE_BYTES;
    const user = mockUser(params.text("user") ?? guest.options.user);
    const base = { pattern: expression(text, fixed, ignoreCase), fixed, user };
    const wanted = include === undefined ? (): boolean => true : picomatch([...include]);
    const unwanted = picomatch([...exclude]);
    return {
      ...base,
      choose: (rights) => {
        const root = guest.files.get(path, user);
        const start = path.replace(/\/+$/, "").length + 1;
        const hidden = (below: string): boolean => {
          const names = below.split("/");
          return names.some((_, i) => unwanted(names.slice(0, i + 1).join("/")));
        };
        const all = everything(path, root).flatMap(([where, node]) => (node.type === "file" ? [{ path: where, node }] : []));
        const chosen = root.type === "file" ? all : all.filter((file) => wanted(file.path.slice(start)) && !hidden(file.path.slice(start)));
        const readable = chosen.filter(({ path: where, node }) => {
          if (node.content.size > most || node.content.view(0, BINARY_HEAD).includes(0)) return false;
          try {
            for (const right of [READ, rights]) guest.files.check(node, user, right, where);
            return true;
          } catch {
            // Not for this user.
            return false;
          }
        });
        const files = readable.sort((a, b) => order(a.path, b.path));
        return { ...base, files, skipped: chosen.length - files.length };
      },
    };
  }

  async function search(call: IncomingCall, params: Params): Promise<void> {
    const { choose } = ask(params);
    const limit = params.int("limit", 1) ?? DEFAULT_LIMIT;
    params.finish();
    const { files, skipped, pattern } = choose(READ);
    call.reply({});
    let matches: Record<string, unknown>[] = [];
    let found = 0;
    let looked = 0;
    for (const { path, node } of files) {
      looked++;
      for (const { line, number, offset } of lines(node)) {
        for (const match of line.matchAll(pattern)) {
          if (found++ >= limit) break;
          matches.push({ path, line: number, ...shown(line, match, offset) });
        }
      }
      if (matches.length >= BATCH) {
        await call.sendEvent({ type: "matches", matches });
        matches = [];
      }
      if (found > limit) break;
    }
    if (matches.length > 0) await call.sendEvent({ type: "matches", matches });
    if (found > limit) await call.sendEvent({ type: "truncated" });
    await call.sendEvent({ type: "summary", files: looked, skipped });
    call.end();
  }

  async function replace(call: IncomingCall, params: Params): Promise<void> {
    const { choose, fixed } = ask(params);
    const replacement = required("replacement", params.text("replacement"));
    const dryRun = params.flag("dry_run", false);
    params.finish();
    const { files, skipped, pattern, user } = choose(dryRun ? READ : WRITE);
    call.reply({});
    const replaced: Record<string, unknown>[] = [];
    for (const { path, node } of files) {
      let count = 0;
      const text = lines(node)
        .map(({ line, end }) => {
          const changed = line.replace(pattern, (...match) => {
            count++;
            return fixed ? replacement : expand(replacement, match as (string | undefined)[]);
          });
          return changed + end;
        })
        .join("");
      if (count === 0) continue;
      replaced.push({ path, count });
      if (dryRun) continue;
      const content = new FileContent();
      content.writeAt(0, Buffer.from(text));
      guest.files.replace(path, user, content, undefined);
    }
    if (replaced.length > 0) await call.sendEvent({ type: "replaced", files: replaced });
    await call.sendEvent({ type: "summary", files: files.length, skipped });
    call.end();
  }

  return { Search: search, Replace: replace };
}

function expression(text: string, fixed: boolean, ignoreCase: boolean): RegExp {
  if (text === "") throw new CaissonError("invalid_argument", "pattern: is empty.");
  const inner = text.startsWith("(?i)") && !fixed ? text.slice(4) : text;
  const flags = ignoreCase || inner !== text ? "gi" : "g";
  try {
    return new RegExp(fixed ? text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&") : inner, flags);
  } catch (error) {
    throw new CaissonError("invalid_argument", `pattern: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** The lines of a file with their breaks, and their places in bytes. */
function lines(node: FileNode): { readonly line: string; readonly end: string; readonly number: number; readonly offset: number }[] {
  let offset = 0;
  const pieces =
    node.content
      .view()
      .toString()
      .match(/[^\n]*\n|[^\n]+$/g) ?? [];
  return pieces.map((piece, i) => {
    const end = /\r?\n$/.exec(piece)?.[0] ?? "";
    const found = { line: piece.slice(0, piece.length - end.length), end, number: i + 1, offset };
    offset += Buffer.byteLength(piece);
    return found;
  });
}

/** The part of a line that is shown with a match. */
function shown(line: string, match: RegExpExecArray, offset: number): Record<string, unknown> {
  const from = Math.max(0, match.index - Math.floor(SHOWN / 2));
  const text = line.slice(from, from + SHOWN);
  const bytes = (to: number): number => Buffer.byteLength(line.slice(from, Math.min(to, from + SHOWN)));
  const at = offset + Buffer.byteLength(line.slice(0, match.index));
  return { offset: at, text, start: bytes(match.index), end: bytes(match.index + match[0].length) };
}

/** `$0` to `$9` are groups, `$$` a dollar. */
function expand(replacement: string, match: readonly (string | undefined)[]): string {
  const groups = match.slice(
    0,
    match.findIndex((part) => typeof part !== "string" && part !== undefined),
  );
  return replacement.replace(/\$(\$|\d)/g, (_, which: string) => (which === "$" ? "$" : (groups[Number(which)] ?? "")));
}

/** Folder by folder, by name. */
function order(a: string, b: string): number {
  const [x, y] = [a.split("/").join("\0"), b.split("/").join("\0")];
  return x < y ? -1 : 1;
}
