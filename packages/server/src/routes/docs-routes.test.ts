import { existsSync } from "node:fs";
import { chromium, type Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { EXAMPLES } from "../openapi/examples.ts";
import { startTestServer, type TestServer } from "../testing/test-server.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));
const required = process.env["REQUIRE_CHROMIUM"] === "1";

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly tags?: readonly string[];
  readonly security?: readonly object[];
  readonly responses: Readonly<Record<string, unknown>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, unknown>>; readonly securitySchemes: Readonly<Record<string, unknown>> };
}

describe("the description", () => {
  const load = async () => (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;

  it("is the same as JSON and as YAML, and is OpenAPI 3.1", async () => {
    const response = await fetch(`${server.url}/openapi.yaml`);
    expect(response.headers.get("content-type")).toBe("application/yaml; charset=utf-8");
    const document = await load();
    expect(parse(await response.text())).toEqual(document);
    expect(document.openapi).toBe("3.1.0");
  });

  it("names every operation once, with a summary, a tag, security and errors", async () => {
    const document = await load();
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    expect(operations.length).toBeGreaterThan(30);
    expect(new Set(operations.map((operation) => operation.operationId)).size).toBe(operations.length);
    const incomplete = operations.filter(({ summary, tags, security }) => !summary || tags?.length !== 1 || !Array.isArray(security));
    expect(incomplete.map((operation) => operation.operationId)).toEqual([]);
    const open = operations.filter((operation) => operation.security?.length === 0).map((operation) => operation.operationId);
    const probes = ["live", "ready", "health"];
    // Workers show what they have instead of a key.
    expect(open).toEqual(["registerWorker", "refreshWorker", "verifyWorker", ...probes]);
    const silent = operations.filter((operation) => !("default" in operation.responses)).map((operation) => operation.operationId);
    expect(silent).toEqual(probes);
  });

  it("describes no route that is not served", async () => {
    const document = await load();
    for (const [path, methods] of Object.entries(document.paths))
      for (const method of Object.keys(methods))
        expect(server.server.app.hasRoute({ method: method.toUpperCase() as "GET", url: path.replaceAll(/\{(\w+)\}/g, ":$1") })).toBe(true);
  });

  it("refers only to components that are there, and has no others", async () => {
    const document = await load();
    const text = JSON.stringify(document);
    const used = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1]));
    expect(used).toEqual(new Set(Object.keys(document.components.schemas)));
    expect([...used].filter((name) => name?.endsWith("Input"))).toEqual([]);
  });

  it("has examples that its own schemas accept", () => {
    for (const { schema, bodies } of Object.values(EXAMPLES))
      for (const body of Object.values(bodies)) expect(schema.safeParse(body).error).toBeUndefined();
  });

  it("is linked from the root", async () => {
    const response = await fetch(server.url, { redirect: "manual" });
    expect([response.status, response.headers.get("location")]).toEqual([302, "/docs"]);
  });
});

describe.skipIf(CHROMIUM === undefined && !required)("the page", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: CHROMIUM ?? "chromium", args: ["--no-sandbox"], timeout: 100_000 });
  });
  afterAll(() => browser.close());

  it("renders every part without asking anybody else, and without errors", async () => {
    const page = await browser.newPage({ viewport: { width: 1400, height: 900 } });
    page.setDefaultTimeout(100_000);
    const outside: string[] = [];
    const wrong: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(server.url) && !/^(?:data|blob):/.test(request.url())) outside.push(request.url());
    });
    page.on("console", (message) => {
      if (message.type() === "error") wrong.push(message.text());
    });
    page.on("pageerror", (error) => wrong.push(error.message));
    await page.goto(`${server.url}/docs`);
    await page.locator("h1", { hasText: "Caisson" }).waitFor();
    for (const name of ["Sandboxes", "Processes", "Files", "Images", "Workers", "System"])
      await page.locator("aside", { hasText: name }).first().waitFor();
    await page.locator("aside").getByText("Create a sandbox").first().click();
    await page.locator("h3", { hasText: "Create a sandbox" }).first().waitFor();
    await page.locator("aside").getByText("Workers").first().click();
    await page.locator("aside").getByText("Drain a worker").first().click();
    await page.locator("h3", { hasText: "Drain a worker" }).first().waitFor();
    const shots = process.env["SCREENSHOTS"];
    if (shots !== undefined) await page.screenshot({ path: `${shots}/docs.png` });
    expect([outside, wrong]).toEqual([[], []]);
    await page.close();
  }, 240_000);
});
