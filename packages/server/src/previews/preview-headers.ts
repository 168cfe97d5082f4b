import type { IncomingMessage } from "node:http";
import { endToEnd, lengthLines, type HeaderLines } from "../http/header-lines.ts";
import { FORWARDED_HEADER, isForwarded } from "../siblings/forwarded-header.ts";
import { confinedCookie, foreignCookies } from "./preview-cookie.ts";
import type { PreviewTarget } from "./preview-target.ts";

/** Our own credentials, and what only a proxy may say. */
const NOT_FORWARDED: ReadonlySet<string> = new Set([
  "x-api-key",
  "x-admin-api-key",
  "forwarded",
  "content-length",
  "host",
  "cookie",
  FORWARDED_HEADER,
]);

/** What reaches beyond the page that says it, to the whole origin or site. */
const NEVER_ANSWERED: ReadonlySet<string> = new Set(["clear-site-data", FORWARDED_HEADER]);
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
  const { headers } = message;
  const host = headers.host ?? `localhost:${target.port}`;
  const lines: HeaderLines = ["Host", host];
  for (const [name, line, value] of endToEnd(message)) {
    if (NOT_FORWARDED.has(name) || name.startsWith("x-forwarded-")) continue;
    // Whoever passed it on keeps the body back until it is taken here.
    if (name === "expect" && isForwarded(message)) continue;
    if (name === "authorization" && forwarding.ownAuthorization) continue;
    if (name === "referer" && value.includes("caisson_token=")) continue;
    lines.push(line, value);
  }
  // A path shares its host with the API and with what else listens there: cookies of those are not for a sandbox.
  const cookies = target.base === "" ? foreignCookies(headers.cookie) : undefined;
  if (cookies !== undefined) lines.push("Cookie", cookies);
  lines.push("X-Forwarded-For", forwarding.client, "X-Forwarded-Host", host, "X-Forwarded-Proto", forwarding.scheme);
  if (target.base !== "") lines.push("X-Forwarded-Prefix", target.base);
  return [...lines, ...lengthLines(headers)];
}

/** The header of an answer as the client gets it. */
export function answerLines(answer: IncomingMessage, target: PreviewTarget): HeaderLines {
  const byPath = target.base !== "";
  const lines: HeaderLines = [];
  for (const [name, line, value] of endToEnd(answer)) {
    if (NEVER_ANSWERED.has(name)) continue;
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
