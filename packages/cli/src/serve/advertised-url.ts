import type { Config } from "@caisson/contract";

/** Where workers and other control planes reach this one; empty when nobody knows, and it is named to nobody. */
export function advertisedUrl({ advertise_url: configured, host, port, tls }: Config["server"]): string {
  if (configured !== undefined) return configured.replace(/\/$/, "");
  const here = host === "localhost" || host === "::1" || host.startsWith("127.");
  // Any free port is known only when it is too late to tell.
  if (!here || port === 0) return "";
  return `${tls.cert_file === undefined ? "http" : "https"}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
