import { request as requestHttp, type ClientRequest, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getCACertificates, type PeerCertificate, type TLSSocket } from "node:tls";
import { CaissonError, fromWire, LINK_HEADERS, LINK_PATH, LINK_UPGRADE, type ErrorCode } from "@caisson/contract";

/** Most bytes of a refusal that are read. */
const MAX_REFUSAL = 65_536;

/** Time for the connection alone, in ms: where packets are lost, a new attempt comes sooner than the kernel's next one. */
const CONNECT_MS = 4_000;

/** Whom to dial, and what to show. */
export interface DialLink {
  /** `http` or `https`, host and port; nothing else of it is used. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Certificates to trust besides the machine's, and what to show, PEM. */
  readonly tls?: {
    readonly ca: readonly string[];
    readonly cert?: string;
    readonly key?: string;
    /** What is wrong with a certificate that leads to an authority that is trusted. Default: it is not for the host of `url`. */
    readonly checkServerIdentity?: (host: string, certificate: PeerCertificate) => Error | undefined;
  };
  /** Code of the error when nobody answers. */
  readonly unreachable: ErrorCode;
  /** Ends the attempt; the caller's time limit. */
  readonly signal: AbortSignal;
}

/** What came of it. */
export type Dialled =
  | { readonly kind: "switched"; readonly stream: Duplex; readonly shown: LinkAnswerHeaders }
  | { readonly kind: "refused"; readonly error: CaissonError; readonly status: number; readonly nonce: string | undefined };

/** What the answer to an upgrade shows. */
export interface LinkAnswerHeaders {
  readonly workerId: string | undefined;
  readonly proof: string | undefined;
  readonly token: string | undefined;
  readonly controlPlane: string | undefined;
  /** Certificate of the TLS server, DER. */
  readonly certificate: Uint8Array | undefined;
}

/**
 * Asks for a link, once: it follows no redirect and sends nothing but the request's head. An answer that is not `101` is a
 * refusal; whatever is no answer throws, with the code `unreachable`.
 */
export async function dialLink({ url, headers, tls, unreachable, signal }: DialLink): Promise<Dialled> {
  const { protocol, hostname, port, origin } = new URL(url);
  const failed = (why: string, cause?: unknown): CaissonError => new CaissonError(unreachable, `No link to ${origin}: ${why}.`, { cause });
  if (protocol !== "http:" && protocol !== "https:") throw failed("its address is neither http nor https");
  const options = {
    method: "GET",
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? (protocol === "https:" ? 443 : 80) : Number(port),
    path: LINK_PATH,
    headers: { ...headers, connection: "Upgrade", upgrade: LINK_UPGRADE },
    agent: false,
    noDelay: true,
  } as const;
  const trusted = tls === undefined ? {} : { ...tls, ca: [...getCACertificates("default"), ...tls.ca] };
  return new Promise((resolve, reject) => {
    const request: ClientRequest = protocol === "https:" ? requestHttps({ ...options, ...trusted }) : requestHttp(options);
    const stop = (): void =>
      void request.destroy(signal.reason instanceof CaissonError ? signal.reason : failed("no answer in time", signal.reason));
    const settled = (): void => signal.removeEventListener("abort", stop);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    request.on("close", settled);
    request.once("socket", (socket: Socket) => {
      if (!socket.connecting) return;
      socket.setTimeout(CONNECT_MS, () => request.destroy(failed("nobody answers there")));
      socket.once("connect", () => socket.setTimeout(0));
    });
    request.on("error", (cause) => reject(cause instanceof CaissonError ? cause : failed(reasonOf(cause), cause)));
    request.on("upgrade", (answer, socket: Socket, head) => {
      // From here on the link owns the connection; the time limit of the attempt is over.
      settled();
      socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      resolve({ kind: "switched", stream: socket, shown: shownBy(answer, socket) });
    });
    request.on("response", (answer) => {
      readRefusal(answer).then(
        (body) => {
          request.destroy();
          resolve({
            kind: "refused",
            status: answer.statusCode ?? 0,
            nonce: headerOf(answer, LINK_HEADERS.nonce),
            error: refusalOf(answer, body, origin),
          });
        },
        (cause: unknown) => reject(failed("its answer broke off", cause)),
      );
    });
    request.end();
  });
}

function shownBy(answer: IncomingMessage, socket: Socket): LinkAnswerHeaders {
  return {
    workerId: headerOf(answer, LINK_HEADERS.workerId),
    proof: headerOf(answer, LINK_HEADERS.proof),
    token: headerOf(answer, LINK_HEADERS.token),
    controlPlane: headerOf(answer, LINK_HEADERS.controlPlane)?.slice(0, 64),
    certificate: (socket as Partial<TLSSocket>).getPeerCertificate?.()?.raw,
  };
}

async function readRefusal(answer: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > MAX_REFUSAL) break;
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("utf8");
}

/** The error in an answer of ours; anything else is told by its status alone, for its text may be anybody's. */
function refusalOf({ statusCode = 0 }: IncomingMessage, body: string, origin: string): CaissonError {
  const code: ErrorCode = statusCode === 401 ? "unauthorized" : statusCode === 403 ? "forbidden" : "server_unreachable";
  try {
    const problem = JSON.parse(body) as { code?: unknown; message?: unknown };
    if (typeof problem.code === "string" && typeof problem.message === "string")
      return fromWire({ ...problem, message: problem.message.slice(0, 1024) });
  } catch {
    // Not JSON: whatever listens there is none of ours.
  }
  return new CaissonError(code, `${origin} answers ${statusCode} instead of opening a link.`);
}

function headerOf(answer: IncomingMessage, name: string): string | undefined {
  const value = answer.headers[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** What a failed connection is, for people: `ECONNREFUSED` says more than a stack. */
function reasonOf(cause: Error): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  switch (code) {
    case "ECONNREFUSED":
      return "nothing listens there";
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "its name cannot be resolved";
    default:
      return message;
  }
}
