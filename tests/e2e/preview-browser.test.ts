import type { ExecResult, PortToken, Process, Sandbox } from "@caisson/contract";
import { ask } from "@caisson/testkit";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openBrowser, openPage } from "../harness/browser.ts";
import { packageTree, tarOf } from "../harness/package-tree.ts";
import { TestServer } from "../harness/server.ts";

const HOME = "/home/user/app";
/** Browsers ask for one, and note as an error that there is none. */
const ICON = '<link rel="icon" href="data:,">';

let server: TestServer;
let sandbox: Sandbox;
let browser: Browser;

beforeAll(async () => {
  [server, browser] = await Promise.all([TestServer.start(), openBrowser()]);
  sandbox = await server.json<Sandbox>("POST", "/sandboxes", { image: "host" });
  const upload = await fetch(`${server.url}/api/v1/sandboxes/${sandbox.id}/files?path=/tmp/packages.tar`, {
    method: "PUT",
    headers: { "x-api-key": server.apiKey, "content-type": "application/octet-stream" },
    body: ReadableStream.from(tarOf(packageTree(["vite", "@vitejs/plugin-react", "react", "react-dom"]))),
    duplex: "half",
  } as RequestInit);
  if (!upload.ok) throw new Error(await upload.text());
  await run(`mkdir -p ${HOME} && tar -C ${HOME} -xf /tmp/packages.tar`);
});

afterAll(async () => {
  await browser.close();
  await server[Symbol.asyncDispose]();
});

async function run(command: string): Promise<void> {
  const result = await server.json<ExecResult>("POST", `/sandboxes/${sandbox.id}/exec`, { command });
  expect(result).toMatchObject({ exit_code: 0 });
}

const write = (path: string, content: string): Promise<unknown> =>
  server.json("POST", `/sandboxes/${sandbox.id}/files`, { path: `${HOME}/${path}`, content });

/** Starts a server in the sandbox, waits until it answers, and gives a link to it. */
async function serve(port: number, command: string): Promise<PortToken> {
  await server.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, { command, background: true, workdir: HOME });
  const host = `${port}-${sandbox.id}.localhost`;
  await vi.waitFor(async () => expect((await ask(server.url, "/", { host, headers: { "x-api-key": server.apiKey } })).status).toBe(200), {
    timeout: 120_000,
    interval: 200,
  });
  return server.json<PortToken>("POST", `/sandboxes/${sandbox.id}/ports/${port}/token`, {});
}

/** Opens what Vite serves. It tells of changes only to pages that are connected with it. */
async function openVite(page: Page, url: string): Promise<void> {
  const connected = page.waitForEvent("console", (message) => message.text().includes("[vite] connected."));
  await page.goto(url);
  await connected;
}

describe("a dev server in a sandbox, in Chromium", () => {
  it("Vite: opens by its link and updates the page without a reload", async () => {
    const module = (text: string): string =>
      `document.querySelector("#out").textContent = "${text}";\nif (import.meta.hot) import.meta.hot.accept();\n`;
    await write("plain/index.html", `<!doctype html>${ICON}<p id="out">empty</p><script type="module" src="/main.js"></script>`);
    await write("plain/main.js", module("first"));
    const { url, token } = await serve(5173, "exec node node_modules/vite/bin/vite.js plain --port 5173 --strictPort --host 127.0.0.1");
    const { page, errors } = await openPage(browser);
    await openVite(page, url);
    await page.getByText("first").waitFor();
    expect(page.url()).not.toContain(token);
    await page.evaluate("window.marker = 1");
    await write("plain/main.js", module("second"));
    await page.getByText("second").waitFor();
    expect(await page.evaluate("window.marker")).toBe(1);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it("React: opens by its link, and a component keeps its state when its file changes", async () => {
    const app = (text: string): string => `import { useState } from "react";
export default function App() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>${text} {count}</button>;
}\n`;
    await write("react/vite.config.js", 'import react from "@vitejs/plugin-react";\nexport default { plugins: [react()] };\n');
    await write("react/index.html", `<!doctype html>${ICON}<div id="root"></div><script type="module" src="/main.jsx"></script>`);
    await write(
      "react/main.jsx",
      'import { createRoot } from "react-dom/client";\nimport App from "./App.jsx";\ncreateRoot(document.querySelector("#root")).render(<App />);\n',
    );
    await write("react/App.jsx", app("clicks"));
    const { url } = await serve(5174, "exec node node_modules/vite/bin/vite.js react --port 5174 --strictPort --host 127.0.0.1");
    const { page, errors } = await openPage(browser);
    await openVite(page, url);
    const button = page.getByRole("button");
    await button.click();
    await button.click();
    await page.getByText("clicks 2").waitFor();
    await page.evaluate("window.marker = 1");
    await write("react/App.jsx", app("taps"));
    await page.getByText("taps 2").waitFor();
    expect(await page.evaluate("window.marker")).toBe(1);
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it("shows a page that says what to do when access is missing or nothing listens", async () => {
    const { page } = await openPage(browser);
    const { port } = new URL(server.url);
    expect((await page.goto(`http://5173-${sandbox.id}.localhost:${port}/`))?.status()).toBe(401);
    await page.getByText(`caisson url ${sandbox.id} 5173`, { exact: true }).waitFor();
    const { url } = await server.json<PortToken>("POST", `/sandboxes/${sandbox.id}/ports/9/token`, {});
    expect((await page.goto(url))?.status()).toBe(502);
    await page.getByText("Start the server in the sandbox first.").waitFor();
    await page.context().close();
  });

  it("by path: a page runs, but not as the origin of the API", async () => {
    const probe = `const say = (name, value) => { document.title += name + "=" + value + ";"; };
say("origin", origin);
for (const store of ["sessionStorage", "localStorage"]) { try { say(store, window[store].length); } catch { say(store, "denied"); } }
try { say("cookie", document.cookie); } catch { say("cookie", "denied"); }
fetch("/api/v1/sandboxes").then((answer) => say("api", answer.status), () => say("api", "denied")).then(() => say("done", 1));`;
    await write("www/index.html", `<!doctype html><title></title><script>${probe}</script>`);
    const { token } = await serve(8000, "python3 -m http.server 8000 --bind 127.0.0.1 --directory www");
    const { page } = await openPage(browser);
    await page.goto(`${server.url}/live`);
    await page.evaluate("sessionStorage.setItem('caisson', 'key')");
    await page.goto(`${server.url}/preview/${sandbox.id}/8000/?caisson_token=${token}`);
    expect(page.url()).toBe(`${server.url}/preview/${sandbox.id}/8000/`);
    await page.waitForFunction("document.title.includes('done')");
    expect(await page.title()).toBe("origin=null;sessionStorage=denied;localStorage=denied;cookie=denied;api=denied;done=1;");
    await page.context().close();
  });
});
