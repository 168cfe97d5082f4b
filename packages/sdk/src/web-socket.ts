import { CaissonApiError, errorFromWire } from "./api-error.ts";

/** Time for the switch to WebSocket, in ms. */
export const OPENING_MS = 15_000;

/** Whether a socket opened; one that did not is closed. */
export function opened(socket: WebSocket, signal: AbortSignal | undefined): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (open: boolean): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", refuse);
      if (!open) socket.close();
      resolve(open);
    };
    const refuse = (): void => settle(false);
    const timer = setTimeout(refuse, OPENING_MS);
    signal?.addEventListener("abort", refuse, { once: true });
    socket.addEventListener("open", () => settle(true), { once: true });
    socket.addEventListener("error", refuse, { once: true });
    socket.addEventListener("close", refuse, { once: true });
  });
}

/** What a close code says when no `error` came before it. */
export function closedBy(code: number, reason: string): CaissonApiError {
  if (code >= 4400 && code < 4600) return errorFromWire({ code: reason }, { status: code - 4000 });
  return broken(code === 1001 ? "The server went away." : `The connection broke (${code}).`);
}

/** The error of a connection that broke. */
export function broken(message: string): CaissonApiError {
  return new CaissonApiError("server_unreachable", message);
}

/** The error of a message that no server sends. */
export function malformed(): CaissonApiError {
  return new CaissonApiError("protocol_error", "The server sent a message that does not fit the protocol.");
}
