import type { FastifyReply } from "fastify";

/** Takes over a reply and sends its head, with what hooks have set, so that the body can be written to the socket directly. */
export function sendHead(reply: FastifyReply, status: number, headers: Readonly<Record<string, string | number>>): void {
  reply.hijack();
  for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value);
  reply.raw.writeHead(status, headers);
}
