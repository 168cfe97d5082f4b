import { CaissonError, type Config } from "@caisson/contract";

/** Where a worker listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** `host:port` as two; an IPv6 address without its brackets. */
export function parseAddress(address: string): ListenAddress {
  const at = address.lastIndexOf(":");
  const port = Number(address.slice(at + 1));
  if (port > 65_535) throw new CaissonError("invalid_request", `worker.listen_addr: there is no port ${port}.`);
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port };
}

/** Where control planes may dial a worker that listens at `url`, with `https://` before it where it speaks TLS; null when only the worker itself knows, as of all addresses. */
export function advertisedAddress(config: Config["worker"], url: string | undefined): string | null {
  const scheme = url?.startsWith("https:") === true ? "https://" : "";
  if (config.advertise_addr !== undefined)
    return config.advertise_addr.includes("://") ? config.advertise_addr : scheme + config.advertise_addr;
  if (config.listen_addr === undefined || url === undefined) return null;
  const { host } = parseAddress(config.listen_addr);
  if (host === "0.0.0.0" || host === "::") return null;
  return `${scheme}${host.includes(":") ? `[${host}]` : host}:${new URL(url).port}`;
}
