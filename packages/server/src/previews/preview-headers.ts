import type { IncomingMessage } from "node:http";
import { confinedCookie, foreignCookies } from "./preview-cookie.ts";
import type { PreviewTarget } from "./preview-target.ts";

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

/** Our own credentials, and what only a proxy may say. */
const NOT_FORWARDED: ReadonlySet<string> = new Set(["x-api-key", "x-admin-api-key", "forwarded", "content-length", "host", "cookie"]);

/** What reaches beyond the page that says it, to the whole origin or site. */
const NEVER_ANSWERED: ReadonlySet<string> = new Set(["clear-site-data"]);
const NEVER_ANSWERED_BY_PATH: ReadonlySet<string> = new Set([
  "alt-svc",
  "nel",
  "report-to",
  "service-worker-allowed",
  "set-cookie",
  "strict-transport-security",
]);

/** Puts a page into an origin of its own: it shares the address of the API, and must not act as it. */
const SANDBOXED = "sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads";

/** What a proxy adds to a request. */
export interface Forwarding {
  /** Address of the client. */
  readonly client: string;
  readonly scheme: string;
  /** Whether the Authorization header is a key of ours. */
  readonly ownAuthorization: boolean;
}

/** The header of a request as the server in the sandbox gets it. */
export function requestLines(message: IncomingMessage, target: PreviewTarget, forwarding: Forwarding): HeaderLines {
  const { headers, rawHeaders } = message;
  const named = namedByConnection(headers.connection);
  const host = headers.host ?? `localhost:${target.port}`;
  const lines: HeaderLines = ["Host", host];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [line = "", value = ""] = rawHeaders.slice(i, i + 2);
    const name = line.toLowerCase();
    if (HOP_BY_HOP.has(name) || NOT_FORWARDED.has(name) || named.has(name) || name.startsWith("x-forwarded-")) continue;
    if (name === "authorization" && forwarding.ownAuthorization) continue;
    if (name === "referer" && value.includes("caisson_token=")) continue;
    lines.push(line, value);
  }
  // A path shares its host with the API and with what else listens there: cookies of those are not for a sandbox.
  const cookies = target.base === "" ? foreignCookies(headers.cookie) : undefined;
  if (cookies !== undefined) lines.push("Cookie", cookies);
  lines.push("X-Forwarded-For", forwarding.client, "X-Forwarded-Host", host, "X-Forwarded-Proto", forwarding.scheme);
  if (target.base !== "") lines.push("X-Forwarded-Prefix", target.base);
  // The length is ours to tell: one parser read it, and nothing that the client says of connections may take it away.
  if (headers["transfer-encoding"] !== undefined) lines.push("Transfer-Encoding", "chunked");
  else if (headers["content-length"] !== undefined) lines.push("Content-Length", headers["content-length"]);
  return lines;
}

/** The header of an answer as the client gets it. */
export function answerLines({ headers, rawHeaders }: IncomingMessage, target: PreviewTarget): HeaderLines {
  const named = namedByConnection(headers.connection);
  named.delete("content-length");
  const byPath = target.base !== "";
  const lines: HeaderLines = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [line = "", value = ""] = rawHeaders.slice(i, i + 2);
    const name = line.toLowerCase();
    if (HOP_BY_HOP.has(name) || named.has(name) || NEVER_ANSWERED.has(name)) continue;
    if (byPath && NEVER_ANSWERED_BY_PATH.has(name)) continue;
    if (name === "set-cookie") {
      const confined = confinedCookie(value);
      if (confined !== undefined) lines.push(line, confined);
    } else if (byPath && name === "location" && /^\/(?!\/)/.test(value)) lines.push(line, target.base + value);
    else lines.push(line, value);
  }
  // Beside a policy of the server's own: of two, both hold.
  if (byPath) lines.push("Content-Security-Policy", SANDBOXED);
  return lines;
}

function namedByConnection(header: string | undefined): Set<string> {
  return new Set((header ?? "").split(",").map((name) => name.trim().toLowerCase()));
}
