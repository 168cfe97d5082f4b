import type { IncomingMessage, ServerResponse } from "node:http";

/** Requests whose client waits to be asked for the body. */
const waiting = new WeakSet<IncomingMessage>();

/** Notes that the client of a request sends its body when it is asked. */
export function awaitsAsking(message: IncomingMessage): void {
  waiting.add(message);
}

/** Asks for the body where the client waits for that. Idempotent. */
export function askForBody(message: IncomingMessage, response: ServerResponse): void {
  if (waiting.delete(message)) response.writeContinue();
}
