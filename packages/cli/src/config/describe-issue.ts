import { closest } from "./closest.ts";
import { keyPaths, nodeAt } from "./config-tree.ts";

/** One refusal of the schema, as far as it is told here. */
export interface SchemaIssue {
  readonly code: string;
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly expected?: string;
  readonly values?: readonly unknown[];
  readonly minimum?: number | bigint;
  readonly maximum?: number | bigint;
  readonly origin?: string;
}

/** What the schema refused, in words that name the way out. */
export function describeIssue(issue: SchemaIssue, actual: unknown): string {
  switch (issue.code) {
    case "invalid_type": {
      if (issue.expected === "string" && typeof actual === "number") return `must be text; put it in quotes: "${actual}"`;
      const kind = KINDS[issue.expected ?? ""] ?? issue.expected ?? "of another kind";
      return actual === undefined ? `must be ${kind}` : `must be ${kind}, not ${show(actual)}`;
    }
    case "invalid_value":
      if (issue.values === undefined || issue.values.length < 2 || !isDefault(issue.message)) return issue.message;
      return `must be one of ${issue.values.join(", ")}, not ${show(actual)}${hint(String(actual), issue.values.map(String))}`;
    case "too_small":
      if (!isDefault(issue.message)) return issue.message;
      return issue.origin === "string" ? "must not be empty" : `must be at least ${issue.minimum}`;
    case "too_big":
      return isDefault(issue.message) ? `must be at most ${issue.maximum}` : issue.message;
    default:
      return issue.message;
  }
}

/** What to say of a key that does not exist: the nearest one here, or the same name elsewhere. */
export function describeUnknownKey(section: readonly string[], key: string): string {
  const node = nodeAt(section);
  const here = node?.kind === "section" ? closest(key, node.children.keys()) : undefined;
  const elsewhere = keyPaths().find((path) => path.at(-1) === key);
  const meant = here ?? elsewhere?.join(".");
  return meant === undefined ? "there is no such key" : `there is no such key; did you mean \`${meant}\`?`;
}

const KINDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "a section with keys of its own",
};

/** Messages of the schema itself that were not worded by us. */
function isDefault(message: string): boolean {
  return /^(?:Invalid|Too) /.test(message);
}

function hint(word: string, candidates: readonly string[]): string {
  const near = closest(word, candidates);
  return near === undefined ? "" : `; did you mean ${near}?`;
}

function show(value: unknown): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "a section" : JSON.stringify(value);
}
