import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseSync } from "vite";
import { withoutStars, type Surface } from "./sdk-surface.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** A fenced `ts` block of a TSDoc comment or a page. */
export interface Example {
  /** Where its first line is, from the root: `packages/sdk/src/files.ts:42`. */
  readonly place: string;
  readonly code: string;
  /** Whether it may be run; else it is only type-checked (`ts no-run`). */
  readonly runs: boolean;
}

const FENCE = /^```ts( no-run)?\n(.*?)^```$/gms;

/** All examples in the TSDoc comments of the SDK and on the pages of docs/. */
export function readExamples(): Example[] {
  const sources = globSync("packages/sdk/src/**/*.ts", { cwd: ROOT }).filter((path) => !/\.test\.ts$|\/testing\//.test(path));
  return [...sources.toSorted().flatMap(examplesInSource), ...globSync("docs/*.md", { cwd: ROOT }).toSorted().flatMap(examplesOnPage)];
}

function examplesInSource(path: string): Example[] {
  const text = readFileSync(join(ROOT, path), "utf8");
  return parseSync(path, text).comments.flatMap((comment) => {
    if (comment.type !== "Block" || !comment.value.startsWith("*")) return [];
    return examplesIn(withoutStars(comment.value), path, text.slice(0, comment.start).split("\n").length);
  });
}

function examplesOnPage(path: string): Example[] {
  return examplesIn(readFileSync(join(ROOT, path), "utf8"), path, 1);
}

/** The blocks of a text whose first line is line `first` of its file. */
function examplesIn(text: string, path: string, first: number): Example[] {
  return [...text.matchAll(FENCE)].map((match) => {
    const line = first + text.slice(0, match.index).split("\n").length;
    return { place: `${path}:${line}`, code: match[2] ?? "", runs: match[1] === undefined };
  });
}

/** A module that runs an example: everything that the SDK exports is in scope, and `sandbox` and `client` are. */
export function moduleOf(example: Example, { values, types }: Surface): string {
  const imports: string[] = [];
  // The SDK's names are there anyway; what else an example imports goes to the top.
  const code = example.code.replaceAll(/^import [^;]*? from "([^"]+)";$/gm, (statement: string, from: string) => {
    if (from !== "@caisson/sdk") imports.push(statement);
    return "";
  });
  return [
    `import { ${values.join(", ")} } from "@caisson/sdk"; import type { ${types.join(", ")} } from "@caisson/sdk"; ${imports.join(" ")}`,
    "export async function example(sandbox: Sandbox, client: Caisson): Promise<unknown> { {",
    code,
    "} return undefined; }",
  ].join("\n");
}
