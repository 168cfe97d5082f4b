import type { IncomingMessage, ServerResponse } from "node:http";

/**
 * In a request: it was passed on by another control plane, whose id this is, and is passed on no further. In an answer to such
 * a request: `declined`, nothing was done. It gives no right: a client that sends it is served as always, but by this one only.
 */
export const FORWARDED_HEADER = "caisson-forwarded";
/** What a control plane says in it that can do nothing. */
const DECLINED = "declined";

/** Whether a request says that it was passed on. */
export function isForwarded(message: IncomingMessage): boolean {
  return message.headers[FORWARDED_HEADER] !== undefined;
}

/** Has an answer say that nothing was done. */
export function decline(response: ServerResponse): void {
  response.setHeader(FORWARDED_HEADER, DECLINED);
}

/** Whether an answer says that nothing was done. */
export function isDeclined(answer: IncomingMessage): boolean {
  return answer.headers[FORWARDED_HEADER] === DECLINED;
}
