import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { generatedFiles } from "./generated-files.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

it("generated files are current; else run `node scripts/generate-docs.mjs`", async () => {
  for (const [path, content] of Object.entries(await generatedFiles()))
    expect(await readFile(join(root, path), "utf8"), path).toBe(content);
});
