import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExampleRunner } from "../harness/example-runner.ts";
import { moduleOf, readExamples } from "../harness/examples.ts";
import { readSurface } from "../harness/sdk-surface.ts";
import { TestServer } from "../harness/server.ts";

const ROOT = new URL("../..", import.meta.url).pathname;
const surface = readSurface();
const examples = readExamples().map((example) => ({
  ...example,
  file: `${basename(example.place).replaceAll(/[.:]/g, "-")}.ts`,
}));

describe("the SDK's documentation", () => {
  test("says of every public member what it is", () => {
    expect(surface.members.length).toBeGreaterThan(60);
    expect(surface.members.filter((one) => one.doc === undefined).map((one) => `${one.place} ${one.name}`)).toEqual([]);
  });

  test("has an example for every public class, function and method", () => {
    const shown = surface.members.filter((one) => ["class", "function", "method"].includes(one.kind));
    expect(shown.filter((one) => one.doc?.includes("```ts") !== true).map((one) => `${one.place} ${one.name}`)).toEqual([]);
  });
});

// A plain user cannot limit memory, which some examples do.
describe.skipIf(process.getuid?.() !== 0)("the examples", () => {
  let folder: string;
  let server: TestServer | undefined;
  let runner: ExampleRunner | undefined;

  beforeAll(async () => {
    // Below the root, where their imports are found.
    await mkdir(join(ROOT, "dist"), { recursive: true });
    folder = await mkdtemp(join(ROOT, "dist", "examples-"));
    const compilerOptions = {
      composite: false,
      declaration: false,
      isolatedDeclarations: false,
      noEmit: true,
      lib: ["es2024", "dom", "esnext.disposable"],
    };
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ extends: "../../tsconfig.base.json", compilerOptions, include: ["*.ts"] }),
    );
    for (const example of examples) await writeFile(join(folder, example.file), moduleOf(example, surface));
    server = await TestServer.start();
    runner = new ExampleRunner(server);
  });

  afterAll(async () => {
    await runner?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  test("have the types they need", async () => {
    const output = await new Promise<string>((resolve) => {
      execFile(join(ROOT, "node_modules/.bin/tsc"), ["-p", folder], { cwd: folder }, (error, stdout) =>
        resolve(error === null ? "" : stdout),
      );
    });
    expect(output).toBe("");
  });

  test.each(examples.filter((example) => example.runs))("$place runs", async ({ file }) => {
    expect(await runner?.run(join(folder, file))).toEqual({ ok: true });
  });
});
