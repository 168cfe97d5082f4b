import { closest } from "./closest.ts";
import type { ConfigMistake } from "./config-mistake.ts";
import { configTree, keyPaths, nodeAt, type ConfigKey } from "./config-tree.ts";

const PREFIX = "CAISSON_";

/** One configuration value from the environment. */
export interface EnvValue {
  readonly name: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

/** What the environment says about the configuration. */
export interface EnvOverlay {
  readonly values: readonly EnvValue[];
  readonly mistakes: readonly ConfigMistake[];
}

/**
 * Reads `CAISSON_<SECTION>__<KEY>` variables, typed by the schema: numbers, booleans, comma-separated lists, `name=value` pairs. A variable that
 * looks like ours (a double underscore, or the name of a section first) but names no key is a mistake. Other `CAISSON_`
 * variables, such as the client's `CAISSON_URL`, are left alone.
 */
export function readEnv(env: Readonly<Record<string, string | undefined>>): EnvOverlay {
  const values: EnvValue[] = [];
  const mistakes: ConfigMistake[] = [];
  for (const name of Object.keys(env).toSorted()) {
    const text = env[name];
    if (!name.startsWith(PREFIX) || text === undefined) continue;
    const path = name.slice(PREFIX.length).toLowerCase().split("__");
    const node = nodeAt(path);
    if (node?.kind === "key") {
      const value = typed(text, node.type);
      if (value === undefined) mistakes.push({ path: path.join("."), message: `must be ${KINDS[node.type]}, not "${text}"`, source: name });
      else values.push({ name, path, value });
    } else if (node?.kind === "section") {
      mistakes.push({ path: path.join("."), message: `is a section; name a key of it, such as ${example(path)}`, source: name });
    } else if (path.length > 1 || startsLikeSection(path[0] ?? "")) {
      const near = closest(name, keyPaths().map(envName));
      mistakes.push({
        path: "",
        message: `names no key of the configuration${near === undefined ? "" : `; did you mean ${near}?`}`,
        source: name,
      });
    }
  }
  return { values, mistakes };
}

/** The variable that sets a key. */
export function envName(path: readonly string[]): string {
  return PREFIX + path.join("__").toUpperCase();
}

const KINDS = {
  number: "a number",
  boolean: "true or false",
  list: "a comma-separated list",
  map: "name=value pairs with commas between",
  string: "text",
} as const;

function typed(text: string, type: ConfigKey["type"]): unknown {
  switch (type) {
    case "string":
      return text;
    case "number":
      return /^-?\d+(?:\.\d+)?$/.test(text.trim()) ? Number(text) : undefined;
    case "boolean":
      return { true: true, "1": true, false: false, "0": false }[text.trim().toLowerCase()];
    case "list":
      return text
        .split(",")
        .map((item) => item.trim())
        .filter((item) => item !== "");
    case "map":
      return mapOf(text);
    default:
      return type satisfies never;
  }
}

function mapOf(text: string): Record<string, string> | undefined {
  const pairs = text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
  if (pairs.some((pair) => pair.indexOf("=") < 1)) return undefined;
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
}

function startsLikeSection(word: string): boolean {
  return [...configTree().children].some(([name, node]) => node.kind === "section" && word.startsWith(`${name}_`));
}

function example(section: readonly string[]): string {
  const node = nodeAt(section);
  return envName(keyPaths(node ?? configTree(), section)[0] ?? section);
}
