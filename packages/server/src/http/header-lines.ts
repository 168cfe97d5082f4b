import type { IncomingHttpHeaders, IncomingMessage } from "node:http";

/** Header lines as Node takes and gives them: name, value, name, value. */
export type HeaderLines = string[];

/** What one connection says to the other end of that connection. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The lines of a message that are meant for whoever is at the far end: name in lower case, name, value. */
export function* endToEnd({ headers, rawHeaders }: IncomingMessage): Generator<readonly [name: string, line: string, value: string]> {
  const named = new Set((headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase()));
  // The length is told by one parser that read it: nothing that is said of connections may take it away.
  named.delete("content-length");
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [line = "", value = ""] = rawHeaders.slice(i, i + 2);
    const name = line.toLowerCase();
    if (!HOP_BY_HOP.has(name) && !named.has(name)) yield [name, line, value];
  }
}

/** Whether a request has a body. One of no bytes is none: nothing of it can be kept back. */
export function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** The lines that say how long the body of a request is. */
export function lengthLines(headers: IncomingHttpHeaders): HeaderLines {
  if (headers["transfer-encoding"] !== undefined) return ["Transfer-Encoding", "chunked"];
  return headers["content-length"] === undefined ? [] : ["Content-Length", headers["content-length"]];
}
