import { STATUS_CODES, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { CaissonError, LINK_HEADERS, LINK_PATH, LINK_UPGRADE, toProblem } from "@caisson/contract";

/** Longest token, proof or nonce that is looked at, in characters. */
const MAX_SHOWN = 4_096;
/** Time for a refusal to leave, in ms. */
const REFUSAL_MS = 5_000;

/** What the one who asks for a link shows. */
export interface LinkRequest {
  /** `Authorization: Bearer`; undefined when there is none. */
  readonly token: string | undefined;
  readonly workerId: string | undefined;
  readonly proof: string | undefined;
  readonly nonce: string | undefined;
  readonly controlPlane: string | undefined;
  /** Client certificate of the TLS connection, DER. */
  readonly certificate: Uint8Array | undefined;
}

/** Whether an upgrade request is one for a link. */
export function isLinkUpgrade(message: IncomingMessage): boolean {
  return message.method === "GET" && message.url?.split("?", 1)[0] === LINK_PATH && message.headers.upgrade?.toLowerCase() === LINK_UPGRADE;
}

/** What an upgrade request shows. Throws `unauthorized` for what is too long to be anything of ours. */
export function readLinkRequest(message: IncomingMessage): LinkRequest {
  const header = (name: string): string | undefined => {
    const value = message.headers[name];
    if (typeof value !== "string" || value === "") return undefined;
    if (value.length > MAX_SHOWN) throw new CaissonError("unauthorized", `The header ${name} has more than ${MAX_SHOWN} characters.`);
    return value;
  };
  const certificate = (message.socket as Partial<TLSSocket>).getPeerCertificate?.()?.raw;
  return {
    token: /^bearer +(\S+) *$/i.exec(header("authorization") ?? "")?.[1],
    workerId: header(LINK_HEADERS.workerId),
    proof: header(LINK_HEADERS.proof),
    nonce: header(LINK_HEADERS.nonce),
    controlPlane: header(LINK_HEADERS.controlPlane)?.slice(0, 64),
    certificate,
  };
}

/** Answers `101`: from now on the connection carries frames. */
export function switchToLink(socket: Duplex, head: Buffer, headers: Readonly<Record<string, string>>): Duplex {
  const net = socket as Socket;
  net.setTimeout(0);
  net.setNoDelay(true);
  socket.write(headOf(101, { connection: "Upgrade", upgrade: LINK_UPGRADE, ...headers }));
  if (head.length > 0) socket.unshift(head);
  return socket;
}

/** Answers with an error and ends the connection, whether or not the other side takes the answer. */
export function refuseLink(socket: Duplex, error: CaissonError, headers: Readonly<Record<string, string>> = {}): void {
  const body = JSON.stringify(toProblem(error));
  const { status } = error.entry;
  const retry: Record<string, string> = status === 503 || status === 429 ? { "retry-after": String(Math.ceil(error.retryAfter ?? 1)) } : {};
  const all = {
    "content-type": "application/problem+json; charset=utf-8",
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
    ...(status === 401 ? { "www-authenticate": 'Bearer realm="caisson"' } : {}),
    ...retry,
    ...headers,
  };
  (socket as Socket).setTimeout(REFUSAL_MS, () => socket.destroy());
  socket.resume();
  socket.end(headOf(status, all) + body, () => socket.destroy());
}

function headOf(status: number, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value.replace(/[\r\n]/g, " ")}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`;
}
