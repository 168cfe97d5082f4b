import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzip } from "node:zlib";

/** One file of the page. */
export interface PageFile {
  readonly type: string;
  readonly body: Buffer;
  readonly gzipped: Buffer;
  /** Strong ETag of it. */
  readonly etag: string;
}

/** The files of the page by their names. */
export type PageFiles = ReadonlyMap<string, PageFile>;

const SOURCE = new URL("../../terminal-page/", import.meta.url);

/** Bundles the terminal page from its sources: a second or so of work, for whoever looks first. */
export async function bundlePage(): Promise<PageFiles> {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({
    entryPoints: { page: fileURLToPath(new URL("main.ts", SOURCE)), style: fileURLToPath(new URL("page.css", SOURCE)) },
    outdir: "/",
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "browser",
    target: "es2022",
    conditions: ["@caisson/source"],
    legalComments: "inline",
    logLevel: "silent",
  });
  const output = (name: string): Buffer => {
    const file = outputFiles.find(({ path }) => path.endsWith(name));
    if (file === undefined) throw new Error(`the bundle has no ${name}`);
    return Buffer.from(file.contents);
  };
  return new Map([
    ["page.html", await pageFile("text/html; charset=utf-8", await readFile(new URL("page.html", SOURCE)))],
    ["page.js", await pageFile("text/javascript; charset=utf-8", output("page.js"))],
    ["page.css", await pageFile("text/css; charset=utf-8", output("style.css"))],
  ]);
}

async function pageFile(type: string, body: Buffer): Promise<PageFile> {
  const etag = `"${createHash("sha256").update(body).digest("hex").slice(0, 32)}"`;
  return { type, body, gzipped: await promisify(gzip)(body), etag };
}
