import { STATUS_CODES, type IncomingMessage, type OutgoingHttpHeaders, type ServerResponse } from "node:http";
import { toProblem } from "@caisson/contract";
import { PROBLEM_TYPE, type WireError } from "../http/problem.ts";
import { SECURITY_HEADERS } from "../http/security-headers.ts";
import type { PreviewTarget } from "./preview-target.ts";

/** Answers that a preview cannot be shown: a page for browsers, a problem document for others. */
export function sendPreviewError(
  message: IncomingMessage,
  response: ServerResponse,
  { error, status }: WireError,
  { target, requestId }: { readonly target: PreviewTarget | undefined; readonly requestId: string },
): void {
  const page = message.headers.accept?.includes("text/html") ?? false;
  const remedy = error.code === "unauthorized" && target !== undefined ? howToOpen(target) : error.entry.remedy;
  const body = page
    ? pageOf(`${status} ${STATUS_CODES[status] ?? ""}`, error.message, remedy)
    : JSON.stringify({ ...toProblem(error, requestId), status, remedy });
  const headers: OutgoingHttpHeaders = {
    ...SECURITY_HEADERS,
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'",
    "content-type": page ? "text/html; charset=utf-8" : PROBLEM_TYPE,
    "content-length": Buffer.byteLength(body),
    "x-request-id": requestId,
    // The rest of a body that nobody read is not worth waiting for.
    ...(message.complete ? {} : { connection: "close" }),
    ...(status === 503 || status === 429 ? { "retry-after": String(Math.max(1, Math.ceil(error.retryAfter ?? 1))) } : {}),
  };
  response.writeHead(status, headers);
  response.end(message.method === "HEAD" ? undefined : body);
}

function howToOpen({ sandboxId, port }: PreviewTarget): string {
  return `Open the link that \`caisson url ${sandboxId} ${port}\` prints, send an API key as X-API-Key, or make the port public with \`caisson url ${sandboxId} ${port} --public\`.`;
}

function pageOf(title: string, message: string, remedy: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:15vh auto;padding:0 1rem;color:#1b1b1f;background:#fff}
h1{font-size:1.25rem}code{background:#eee;padding:.1em .3em;border-radius:3px;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#eee;background:#1b1b1f}code{background:#333}}</style>
<h1>${escape(title)}</h1><p>${escape(message)}</p><p>${escape(remedy).replace(/`([^`]*)`/g, "<code>$1</code>")}</p></html>\n`;
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
