import type { IncomingMessage } from "node:http";
import type { Random } from "@caisson/contract";

/** The caller's `X-Request-ID` when it is harmless to echo and log, else a new one. */
export function requestIdOf(message: IncomingMessage, random: Random): string {
  const given = message.headers["x-request-id"];
  return typeof given === "string" && /^[\w.:-]{1,128}$/.test(given) ? given : Buffer.from(random.bytes(12)).toString("hex");
}
