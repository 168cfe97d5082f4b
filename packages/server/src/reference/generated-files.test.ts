import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { generatedFiles } from "./generated-files.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

it("generated files are current; else run `node scripts/generate-docs.mjs`", async () => {
  const made = await generatedFiles();
  const kept = await Promise.all(Object.keys(made).map(async (path) => [path, await readFile(join(root, path), "utf8")] as const));
  expect(Object.fromEntries(kept)).toEqual(made);
});
