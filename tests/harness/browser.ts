import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";

/** Longest that a browser may take for what a test waits for, in ms. */
const PATIENCE_MS = 120_000;

/** Chromium without a window. Default: Debian's. */
export function openBrowser(executablePath: string = "/usr/bin/chromium"): Promise<Browser> {
  return chromium.launch({ executablePath, args: ["--no-sandbox"], timeout: PATIENCE_MS });
}

/** A page in a context of its own. */
export async function newPage(browser: Browser, options?: BrowserContextOptions): Promise<Page> {
  const page = await (await browser.newContext(options)).newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  return page;
}

/** A page that notes what went wrong in it. */
export async function openPage(browser: Browser): Promise<{ readonly page: Page; readonly errors: string[] }> {
  const page = await newPage(browser);
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") errors.push(message.text());
  });
  return { page, errors };
}
