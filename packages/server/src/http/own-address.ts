import type { FastifyRequest } from "fastify";

/** A host as it may stand in a URL: a name, an IPv4 or a bracketed IPv6 address, and a port. */
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i;

/**
 * The address under which this request reached the server. Only `Host` says it, never a header that a proxy might or might
 * not set; one that is no host is answered with the address of the socket.
 */
export function ownAddress(request: FastifyRequest): string {
  const { host } = request.headers;
  const { localAddress = "127.0.0.1", localPort, localFamily } = request.socket;
  const socket = `${localFamily === "IPv6" ? `[${localAddress}]` : localAddress}:${localPort}`;
  return `${request.protocol}://${host !== undefined && HOST.test(host) ? host : socket}`;
}
