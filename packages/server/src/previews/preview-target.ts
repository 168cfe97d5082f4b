import type { IncomingMessage } from "node:http";
import { CaissonError, PORT_PATTERN, PREVIEW_TOKEN_PARAMETER, SANDBOX_ID_PATTERN } from "@caisson/contract";

/** Which port of which sandbox a request to a preview is for. */
export interface PreviewTarget {
  readonly sandboxId: string;
  readonly port: number;
  /** Path and query for the server in the sandbox: as they came, but for our prefix and our token. */
  readonly path: string;
  /** The token of the query. */
  readonly token: string | undefined;
  /** What stands before the path in a browser: empty for a preview with a host of its own. */
  readonly base: string;
}

/** First part of the path of previews that have no host of their own. */
const PATH_PREFIX = "/preview/";

/** Whether a request is for a preview rather than for the API: decided by its Host, then by its path, and by nothing else. */
export function isPreview(message: IncomingMessage, domain: string): boolean {
  return previewLabel(message, domain) !== undefined || (message.url?.startsWith(PATH_PREFIX) ?? false);
}

/** Reads where a request goes. Throws `not_found` for a port or id that cannot be, `invalid_request` for other forms of target. */
export function previewTarget(message: IncomingMessage, domain: string): PreviewTarget {
  const url = message.url ?? "";
  if (!url.startsWith("/")) throw new CaissonError("invalid_request", "A preview takes paths only, no absolute address.");
  if (message.rawHeaders.filter((line, i) => i % 2 === 0 && line.toLowerCase() === "host").length > 1)
    throw new CaissonError("invalid_request", "The request has more than one Host.");
  const label = previewLabel(message, domain);
  if (label !== undefined) {
    const dash = label.indexOf("-");
    return { ...portOf(label.slice(dash + 1), label.slice(0, dash)), ...withoutToken(url), base: "" };
  }
  const match = /^\/preview\/([^/?]*)\/([^/?]*)(.*)$/s.exec(url);
  const where = portOf(match?.[1] ?? "", match?.[2] ?? "");
  const { path, token } = withoutToken(match?.[3] ?? "");
  return { ...where, path, token, base: `${PATH_PREFIX}${where.sandboxId}/${where.port}` };
}

/** The part of the Host before the preview domain, when it has the form of a preview's. */
function previewLabel(message: IncomingMessage, domain: string): string | undefined {
  const host = (message.headers.host ?? "").toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
  if (!host.endsWith(`.${domain}`)) return undefined;
  const label = host.slice(0, -domain.length - 1);
  return /^\d+-/.test(label) ? label : undefined;
}

function portOf(sandboxId: string, port: string): { readonly sandboxId: string; readonly port: number } {
  if (SANDBOX_ID_PATTERN.test(sandboxId) && PORT_PATTERN.test(port) && Number(port) <= 65_535) return { sandboxId, port: Number(port) };
  throw new CaissonError("not_found", "This is no address of a preview: it needs a port and the id of a sandbox.");
}

/** Takes our parameter out of a query and leaves every other byte as it is. */
function withoutToken(url: string): { readonly path: string; readonly token: string | undefined } {
  const start = url.indexOf("?");
  if (start < 0) return { path: url, token: undefined };
  let token: string | undefined;
  const kept = url
    .slice(start + 1)
    .split("&")
    .filter((part) => {
      const [name = "", value] = part.split("=", 2);
      if (name !== PREVIEW_TOKEN_PARAMETER) return true;
      token = value ?? "";
      return false;
    });
  if (token === undefined) return { path: url, token };
  return { path: url.slice(0, start) + (kept.length === 0 ? "" : `?${kept.join("&")}`), token };
}
