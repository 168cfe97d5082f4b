import { execFile } from "node:child_process";
import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newPage, openBrowser } from "../harness/browser.ts";
import { sdkTour, TOUR_SEEN } from "../harness/sdk-tour.ts";
import { startDirectFleet, type DirectFleet } from "../harness/direct.ts";
import { TestServer } from "../harness/server.ts";

const ROOT = join(import.meta.dirname, "../..");
const TOUR = join(ROOT, "tests/harness/sdk-tour.ts");
const BUN = join(ROOT, "node_modules/@oven/bun-linux-x64/bin/bun");
const CHROMIUM = "/usr/bin/chromium";
/** Largest that the SDK may be for a browser: minified, in bytes. */
const LARGEST_BUNDLE = 100_000;

/** The SDK and the tour as one script for a browser. */
async function bundle(entry: string): Promise<{ readonly code: string; readonly inputs: readonly string[] }> {
  const { outputFiles, metafile } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "iife",
    globalName: "tour",
    conditions: ["@caisson/source"],
    target: "chrome120",
  });
  const inputs = Object.values(metafile.outputs).flatMap((output) => Object.entries(output.inputs));
  return { code: outputFiles[0]?.text ?? "", inputs: inputs.filter(([, { bytesInOutput }]) => bytesInOutput > 0).map(([path]) => path) };
}

let page: Server;
let origin: string;
let server: TestServer;
let direct: DirectFleet;

/** Where a tour goes: to a server, or to one whose worker can be reached directly. */
const TARGETS = {
  "through the server": () => server,
  "straight to the worker": () => direct.fleet.server,
} as const;
const targets = Object.entries(TARGETS);

let served = 0;

/** The worker itself was asked for a terminal once more, where there is one. */
async function expectDirect(target: TestServer): Promise<void> {
  if (target !== direct.fleet.server) return;
  const lines = (): readonly string[] => direct.fleet.worker.output.match(/"route":"\/api\/v1\/sandboxes\/:id\/exec\/ws"/g) ?? [];
  await expect.poll(lines).toHaveLength((served += 1));
}

beforeAll(async () => {
  const { code } = await bundle(TOUR);
  page = createServer((request, response) => {
    const script = request.url === "/tour.js";
    response.setHeader("content-type", script ? "text/javascript" : "text/html");
    response.end(script ? code : '<!doctype html><script src="/tour.js"></script>');
  }).listen(0, "127.0.0.1");
  await once(page, "listening");
  origin = `http://127.0.0.1:${(page.address() as AddressInfo).port}`;
  server = await TestServer.start({ CAISSON_SERVER__CORS_ALLOWED_ORIGINS: origin });
  direct = await startDirectFleet({ CAISSON_SERVER__CORS_ALLOWED_ORIGINS: origin });
});
afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await direct?.[Symbol.asyncDispose]();
  page?.close();
});

describe("the SDK", () => {
  test.each(targets)("runs in Node, %s", async (_name, targetOf) => {
    const target = targetOf();
    expect(await sdkTour(target.url, target.apiKey)).toEqual(TOUR_SEEN);
    await expectDirect(target);
  });

  test.skipIf(!existsSync(BUN)).each(targets)("runs in Bun, %s", async (_name, targetOf) => {
    const target = targetOf();
    const script = `import { sdkTour } from ${JSON.stringify(TOUR)}; console.log(JSON.stringify(await sdkTour(process.env.TOUR_URL, process.env.TOUR_KEY)));`;
    const env = { ...process.env, TOUR_URL: target.url, TOUR_KEY: target.apiKey };
    const { stdout } = await promisify(execFile)(BUN, ["--conditions=@caisson/source", "-e", script], { cwd: ROOT, env, timeout: 150_000 });
    expect(JSON.parse(stdout)).toEqual(TOUR_SEEN);
    await expectDirect(target);
  });

  test.skipIf(!existsSync(CHROMIUM)).each(targets)("runs in a browser, from a page of another origin, %s", async (_name, targetOf) => {
    const target = targetOf();
    const browser = await openBrowser(CHROMIUM);
    try {
      const tab = await newPage(browser);
      await tab.goto(origin);
      const call = `tour.sdkTour(${JSON.stringify(target.url)}, ${JSON.stringify(target.apiKey)})`;
      expect(await tab.evaluate(call)).toEqual(TOUR_SEEN);
      await expectDirect(target);
    } finally {
      await browser.close();
    }
  });

  test("is small for a browser, and carries no schemas", async () => {
    const { code, inputs } = await bundle(join(ROOT, "packages/sdk/src/index.ts"));
    expect(inputs.filter((path) => path.includes("node_modules/zod"))).toEqual([]);
    expect(code.length).toBeLessThan(LARGEST_BUNDLE);
    expect(code).not.toMatch(/["'`]node:/);
  });
});
