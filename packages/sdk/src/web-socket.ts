import { CaissonApiError, errorFromWire } from "./api-error.ts";
import type { HttpClient, Query } from "./http-client.ts";

/** Time for the switch to WebSocket, in ms. */
export const OPENING_MS = 15_000;

/** A WebSocket of one sandbox. */
export interface SocketRequest<T> {
  /** Path below `/api/v1`, encoded. */
  readonly path: string;
  readonly query?: Query;
  readonly protocol: string;
  /** Gets a token that opens it at the server. */
  readonly token: () => Promise<string>;
  /** Listens to a socket before it is open, so that nothing it says is missed. */
  readonly attach: (socket: WebSocket) => T;
  readonly signal: AbortSignal | undefined;
}

/** Opens a WebSocket: to the worker itself where that can be reached, else to the server. What is sent later was sent once. */
export async function openSocket<T>(http: HttpClient, request: SocketRequest<T>): Promise<T> {
  const { path, query = {}, protocol, attach, signal } = request;
  const connect = async (url: string, token: string): Promise<T | undefined> => {
    const parameters = new URLSearchParams({ token });
    for (const [name, value] of Object.entries(query)) parameters.set(name, String(value));
    let socket: WebSocket;
    try {
      socket = new WebSocket(`${url.replace(/^http/, "ws")}/api/v1${path}?${parameters.toString()}`, protocol);
    } catch {
      return undefined; // a page may not speak to that address
    }
    const attached = attach(socket);
    return (await opened(socket, signal)) ? attached : undefined;
  };
  const direct = await http.direct?.open(signal);
  if (direct !== undefined) {
    const attached = await connect(direct.url, direct.token);
    signal?.throwIfAborted();
    if (attached !== undefined) return attached;
    // It refused, or was not there: both are told apart by the next call only.
    http.direct?.refused();
    http.direct?.lost();
  }
  const token = http.token ?? (await request.token());
  signal?.throwIfAborted();
  const attached = await connect(http.url, token);
  if (attached !== undefined) return attached;
  signal?.throwIfAborted();
  // A browser does not tell why; the same address, asked without the switch, does.
  await http.json({ method: "GET", path, query, signal, timeoutMs: OPENING_MS }).catch((error: unknown) => {
    if (!(error instanceof CaissonApiError) || error.status !== 426) throw error;
  });
  throw broken("The connection could not be switched to WebSocket.");
}

/** Whether a socket opened; one that did not is closed. */
function opened(socket: WebSocket, signal: AbortSignal | undefined): Promise<boolean> {
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
