import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = new URL("../..", import.meta.url).pathname;

function smoke(...args: readonly string[]): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(join(ROOT, "scripts/smoke-remote-worker.sh"), args, { timeout: 280_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: `${stdout}\n--- stderr\n${stderr}` }),
    );
  });
}

const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("caisson-smoke-"));

test("a control plane and a worker as two processes do all that a user asks for", { timeout: 300_000 }, async () => {
  // Whether or not the port of the pages is free here, one of the two is taken: the script must find another.
  const taken = createServer().listen(7430, "127.0.0.1");
  await once(taken, "listening").catch(() => undefined);
  try {
    const before = leftovers();
    const { code, output } = await smoke();
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toMatch(/^All \d+ checks passed\.$/m);
    expect(leftovers()).toEqual(before);
  } finally {
    taken.close();
  }
});

test("it fails when the program is not what it should be", async () => {
  const { code, output } = await smoke("/bin/true");
  expect({ code, output }).toMatchObject({ code: 1 });
  expect(output).toContain("the process ended before the control plane answered");
});
