import { CaissonError } from "@caisson/contract";
import type { SandboxOwner } from "@caisson/control";

/** Where previews are. */
export interface PreviewOptions {
  /** Domain below which every port of every sandbox has a host of its own, in lower case. */
  readonly domain: string;
  /** Scheme, domain and port with which browsers reach them; absent: the scheme and the port that the server listens on. */
  readonly url?: string;
  /** Scheme of the server, for where there is no `url`. Default: `http`. */
  readonly scheme?: "http" | "https";
}

/** Checks the options: an address that nobody could open is told at the start. */
export function checkPreviewOptions({ domain, url }: PreviewOptions): void {
  if (url === undefined) return;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed !== undefined && /^https?:$/.test(parsed.protocol) && parsed.hostname === domain && parsed.origin === url) return;
  const path = "server.preview_url";
  const message = `must be http or https, the domain ${domain} and perhaps a port, without a path: https://${domain}`;
  throw new CaissonError("invalid_request", `${path} ${message}.`, { errors: [{ path, message }] });
}

/**
 * Where the previews of a worker's sandboxes are: at its own domain when it has one, else at the control plane, which relays.
 * Where both have the same domain, what is asked of it arrives at the control plane.
 */
export function previewsOf(own: PreviewOptions, owner: Pick<SandboxOwner, "previewDomain" | "previewUrl">): PreviewOptions {
  const { previewDomain: domain, previewUrl } = owner;
  if (domain === null || domain === own.domain) return own;
  const url = previewUrl !== null && URL.canParse(previewUrl) ? new URL(previewUrl).origin : `http://${domain}`;
  return { domain, url };
}

/** Address of a port's preview, for a server that is reached at `localPort`. */
export function previewUrl(options: PreviewOptions, sandboxId: string, port: number, localPort: number | undefined): string {
  const url = new URL(options.url ?? `${options.scheme ?? "http"}://${options.domain}${localPort === undefined ? "" : `:${localPort}`}`);
  url.hostname = `${port}-${sandboxId}.${options.domain}`;
  return url.href;
}
