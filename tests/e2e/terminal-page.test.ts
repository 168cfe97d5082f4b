import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Caisson, Sandbox } from "@caisson/sdk";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { newPage, openBrowser } from "../harness/browser.ts";
import { TestServer } from "../harness/server.ts";

const CHROMIUM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** Where pictures go, for people to look at; unset: nowhere. */
const PICTURES = process.env.CAISSON_TEST_PICTURES;

let server: TestServer;
let browser: Browser;
let client: Caisson;
let sandbox: Sandbox;

beforeAll(async () => {
  server = await TestServer.start();
  client = new Caisson({ url: server.url, apiKey: server.apiKey });
  if (CHROMIUM !== undefined) browser = await openBrowser(CHROMIUM);
  if (PICTURES !== undefined) mkdirSync(PICTURES, { recursive: true });
});

afterAll(async () => {
  await browser?.close();
  await server[Symbol.asyncDispose]();
});

beforeEach(async () => {
  sandbox = await Sandbox.create({}, { client });
});

/** The page of a sandbox, and what a person does and sees there. */
class TerminalPage implements AsyncDisposable {
  readonly page: Page;
  /** What the browser complained of. */
  readonly complaints: string[] = [];

  private constructor(page: Page) {
    this.page = page;
    page.on("console", (message) => {
      // A server that is down is what some tests are about.
      if (message.type() === "error" && !/ERR_CONNECTION_REFUSED|WebSocket connection|status of (401|404|410|426)/.test(message.text()))
        this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
  }

  static async open(address: string): Promise<TerminalPage> {
    const page = await newPage(browser, { viewport: { width: 1000, height: 640 } });
    const opened = new TerminalPage(page);
    await page.goto(address);
    return opened;
  }

  static async withToken(): Promise<TerminalPage> {
    const { token } = await sandbox.createToken({ action: "exec" });
    const opened = await TerminalPage.open(`${server.url}/terminal/${sandbox.id}#token=${token}`);
    await opened.state("connected");
    await opened.until(/\$/);
    return opened;
  }

  async type(text: string): Promise<void> {
    await this.page.keyboard.type(text);
  }

  async enter(line: string): Promise<void> {
    await this.page.keyboard.insertText(line);
    await this.page.keyboard.press("Enter");
  }

  /** The lines that the terminal draws. */
  screen(): Promise<string> {
    return this.page.locator(".xterm-rows").evaluate((rows) => [...rows.children].map((row) => row.textContent ?? "").join("\n"));
  }

  /** Resolves when the screen fits. */
  async until(fits: RegExp, timeout: number = 60_000): Promise<string> {
    return vi.waitFor(
      async () => {
        const screen = await this.screen();
        if (!fits.test(screen)) throw new Error(`the screen does not fit ${String(fits)}:\n${screen}`);
        return screen;
      },
      { timeout, interval: 50 },
    );
  }

  async state(state: string): Promise<void> {
    await vi.waitFor(
      async () => {
        const now = await this.page.evaluate("document.body.dataset.state");
        if (now !== state) throw new Error(`the page is ${String(now)}, not ${state}`);
      },
      { timeout: 60_000, interval: 50 },
    );
  }

  async picture(name: string): Promise<void> {
    if (PICTURES !== undefined) await this.page.screenshot({ path: join(PICTURES, `${name}.png`) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.page.context().close();
  }
}

describe.skipIf(CHROMIUM === undefined && process.env.REQUIRE_CHROMIUM !== "1")("the terminal page", () => {
  it("types, follows the window's size, and comes back to the same shell after a reload", async () => {
    await using terminal = await TerminalPage.withToken();
    expect(terminal.page.url()).not.toContain("token");
    await terminal.type("echo $((6*7))");
    await terminal.page.keyboard.press("Enter");
    await terminal.until(/^42\s*$/m);
    await terminal.enter("echo shell $$; stty size");
    // With the prompt behind it, the last number is whole.
    const shown = /^shell (\d+)\s+(\d+) (\d+)\s+user@/m;
    const [, pid, rows, cols] = shown.exec(await terminal.until(shown)) ?? [];
    await terminal.picture("shell");
    await terminal.page.setViewportSize({ width: 700, height: 400 });
    await expect
      .poll(async () => {
        await terminal.enter("clear; stty size");
        return /^(\d+) (\d+)\s*$/m
          .exec(await terminal.screen())
          ?.slice(1)
          .map(Number);
      })
      .toSatisfy((size: number[] | undefined) => size !== undefined && (size[0] ?? 0) < Number(rows) && (size[1] ?? 0) < Number(cols));
    await terminal.enter("clear; echo before the reload");
    await terminal.until(/^before the reload/m);
    await terminal.page.reload();
    await terminal.state("connected");
    await terminal.until(/^before the reload/m);
    await terminal.enter("echo again $$");
    await terminal.until(new RegExp(`again ${pid}\\b`));
    await terminal.picture("reloaded");
    expect((await sandbox.pty.list({ tag: "terminal" })).length).toBe(1);
    expect(terminal.complaints).toEqual([]);
  });

  it("draws unicode and wide characters in their places", async () => {
    await using terminal = await TerminalPage.withToken();
    await terminal.enter("clear; printf '%s|\\n' 'añb' '日本語' '…→✓' ; printf 'x\\033[5Gfive\\n'");
    await terminal.until(/añb\|[^]*日本語\|[^]*…→✓\|/);
    expect(await terminal.until(/x {3}five/)).toMatch(/x {3}five/);
    await terminal.type("echo é日");
    await terminal.page.keyboard.press("Enter");
    await terminal.until(/^é日/m);
    await terminal.picture("unicode");
    expect(terminal.complaints).toEqual([]);
  });

  it("draws vim and htop", async () => {
    await using terminal = await TerminalPage.withToken();
    await terminal.enter("printf 'first\\nsecond\\nthird\\n' > a.txt; vim -u NONE a.txt");
    await terminal.until(/^first\s*\nsecond\s*\nthird\s*\n~/);
    await terminal.type("jdwiSECOND");
    await terminal.page.keyboard.press("Escape");
    await terminal.until(/^first\s*\nSECOND/);
    await terminal.picture("vim");
    await terminal.page.setViewportSize({ width: 800, height: 500 });
    await terminal.until(/^first\s*\nSECOND/);
    await terminal.type(":wq");
    await terminal.page.keyboard.press("Enter");
    await terminal.until(/^(?![^]*~\s*\n~)[^]*\$ *$/m);
    await terminal.enter("clear; cat a.txt; htop");
    await terminal.until(/Tasks:[^]*PID[^]*F10Quit/);
    await terminal.picture("htop");
    await terminal.page.reload();
    await terminal.state("connected");
    await terminal.until(/Tasks:[^]*PID[^]*F10Quit/);
    await terminal.picture("htop-reloaded");
    await terminal.page.keyboard.press("q");
    await terminal.until(/SECOND[^]*\$ *$/m);
    expect(terminal.complaints).toEqual([]);
  });

  it("stays answerable in a flood", async () => {
    await using terminal = await TerminalPage.withToken();
    await terminal.enter("yes 0123456789012345678901234567890123456789 | head -c 10000000; echo; echo whole");
    await terminal.until(/^whole/m);
    await terminal.enter("clear; yes");
    await terminal.until(/^y\s*\ny\s*\n/m);
    await terminal.page.keyboard.press("Control+c");
    // What is typed before the prompt is there may lose its beginning.
    await terminal.until(/user@\S+\$\s*$/, 20_000);
    await terminal.enter("echo over $?");
    await terminal.until(/^over 130/m);
    expect(terminal.complaints).toEqual([]);
  });

  it("goes on after the server was killed and came back", async () => {
    await using terminal = await TerminalPage.withToken();
    await terminal.enter("clear; echo shell $$; (sleep 3; echo late) &");
    const [, pid] = /^shell (\d+)/m.exec(await terminal.until(/^shell \d+\s+\[1\]/m)) ?? [];
    await server.kill9();
    await terminal.state("reconnecting");
    await terminal.picture("reconnecting");
    await server.up();
    await terminal.state("connected");
    await terminal.enter("echo again $$");
    const screen = await terminal.until(new RegExp(`again ${pid}\\b`));
    await terminal.until(/late\s*$/m);
    // Nothing was drawn twice.
    expect(screen.match(/^shell/gm)).toHaveLength(1);
    expect(terminal.complaints).toEqual([]);
  });

  it("says that the shell ended, and starts another", async () => {
    await using terminal = await TerminalPage.withToken();
    await terminal.enter("exit 3");
    await terminal.state("ended");
    expect(await terminal.page.locator("#notice-text").textContent()).toBe("The shell ended with status 3.");
    await terminal.picture("ended");
    await terminal.page.getByRole("button", { name: "New shell" }).click();
    await terminal.state("connected");
    await terminal.until(/\$/);
    // Key by key: the shell's end took the focus away before the last key came up, and xterm then waits for another.
    await terminal.type("echo new $((1+1))\n");
    await terminal.until(/new 2/);
    expect(terminal.complaints).toEqual([]);
  });

  it("asks for a key, says when one is wrong, and forgets it with the tab", async () => {
    await using terminal = await TerminalPage.open(`${server.url}/terminal/${sandbox.id}`);
    await terminal.state("locked");
    await terminal.picture("locked");
    await terminal.page.getByLabel("API key").fill("wrong");
    await terminal.page.getByRole("button", { name: "Open" }).click();
    await expect.poll(() => terminal.page.locator("#mistake").textContent()).toBe("This key is not valid.");
    await terminal.picture("wrong-key");
    await terminal.page.getByLabel("API key").fill(server.apiKey);
    await terminal.page.getByRole("button", { name: "Open" }).click();
    await terminal.state("connected");
    expect(await terminal.page.evaluate("[localStorage.length, document.cookie]")).toEqual([0, ""]);
    await terminal.page.reload();
    await terminal.state("connected");
    await using other = await TerminalPage.open(`${server.url}/terminal/${sandbox.id}`);
    await other.state("locked");
    expect(server.output).not.toContain(server.apiKey);
    expect(terminal.complaints).toEqual([]);
  });

  it("keeps an open connection past its token's time, and asks when it must connect anew", async () => {
    const { token } = await sandbox.createToken({ action: "exec", ttl: "10s" });
    await using terminal = await TerminalPage.open(`${server.url}/terminal/${sandbox.id}#token=${token}`);
    await terminal.state("connected");
    await expect.poll(async () => (await fetch(`${server.url}/api/v1/sandboxes/${sandbox.id}?token=${token}`)).status).toBe(401);
    await terminal.enter("echo still here; X=kept");
    await terminal.until(/^still here/m);
    await server.kill9();
    await server.up();
    await terminal.state("locked");
    expect(await terminal.page.locator("#mistake").textContent()).toMatch(/token/);
    await terminal.page.getByLabel("API key").fill(server.apiKey);
    await terminal.page.getByRole("button", { name: "Open" }).click();
    await terminal.state("connected");
    await terminal.enter("echo [$X]");
    await terminal.until(/\[kept\]/);
    expect(server.output).not.toContain(token);
  });

  it("says when the sandbox is gone, and when there is none", async () => {
    await using terminal = await TerminalPage.withToken();
    await sandbox.destroy();
    await terminal.state("gone");
    expect(await terminal.page.locator("#notice-text").textContent()).toMatch(/sandbox has ended/);
    await terminal.picture("gone");
    await terminal.page.reload();
    await terminal.state("gone");
    await using wrong = await TerminalPage.open(`${server.url}/terminal/sb0000000000000000000000`);
    await wrong.page.getByLabel("API key").fill(server.apiKey);
    await wrong.page.getByRole("button", { name: "Open" }).click();
    await wrong.state("gone");
    expect(await wrong.page.locator("#notice-text").textContent()).toMatch(/no such sandbox/);
  });

  it("loads nothing from elsewhere, and runs nothing that came with the page", async () => {
    const response = await fetch(`${server.url}/terminal/${sandbox.id}`);
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("script-src 'self';");
    expect(policy).toContain("default-src 'none'");
    expect(await response.text()).not.toMatch(/<script>|https?:|\son[a-z]+=/);
    const script = await fetch(`${server.url}/terminal/assets/page.js`);
    const etag = script.headers.get("etag") ?? "";
    expect((await fetch(`${server.url}/terminal/assets/page.js`, { headers: { "if-none-match": etag } })).status).toBe(304);
    expect((await fetch(`${server.url}/terminal/assets/other.js`)).status).toBe(400);
  });
});
