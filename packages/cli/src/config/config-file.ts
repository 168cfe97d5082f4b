import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { ConfigMistake } from "./config-mistake.ts";

/** A configuration file as read: its value, what is wrong with its syntax, and where each key stands. */
export interface ConfigFile {
  readonly value: unknown;
  readonly mistakes: readonly ConfigMistake[];
  /** `name:line` of the nearest part of a path that is in the file. */
  sourceOf(path: readonly string[]): string;
}

/** Largest configuration file, in bytes. */
const MAX_BYTES = 1_048_576;

/** Reads a YAML file. What cannot be read or parsed becomes mistakes. */
export function readConfigFile(path: string): ConfigFile {
  const name = basename(path);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (error as Error).message;
    return broken({ path: "", message: `cannot be read: ${reason}`, source: path });
  }
  if (text.length > MAX_BYTES) return broken({ path: "", message: "is larger than 1 MiB", source: path });
  return parseConfig(text, name);
}

function broken(mistake: ConfigMistake): ConfigFile {
  return { value: {}, mistakes: [mistake], sourceOf: () => mistake.source ?? "" };
}

/** Parses YAML text; `name` is how mistakes call it. */
export function parseConfig(text: string, name: string): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const lineAt = (offset: number): string => `${name}:${lines.linePos(offset).line}`;
  const mistakes: ConfigMistake[] = document.errors.map((error) => ({ path: "", message: error.message, source: lineAt(error.pos[0]) }));
  const sourceOf = (path: readonly string[]): string => {
    let line = name;
    let node: unknown = document.contents;
    for (const key of path) {
      if (isMap(node)) {
        const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
        if (isScalar(pair?.key) && pair.key.range) line = lineAt(pair.key.range[0]);
        node = pair?.value;
      } else if (isSeq(node)) {
        node = node.items[Number(key)];
        if (isNode(node) && node.range) line = lineAt(node.range[0]);
      }
    }
    return line;
  };
  if (mistakes.length > 0) return { value: {}, mistakes, sourceOf };
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 }) ?? {};
  } catch (error) {
    return { value: {}, mistakes: [{ path: "", message: (error as Error).message, source: name }], sourceOf };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { value: {}, mistakes: [{ path: "", message: "must be a map of sections, such as `server:`", source: `${name}:1` }], sourceOf };
  }
  return { value, mistakes, sourceOf };
}
