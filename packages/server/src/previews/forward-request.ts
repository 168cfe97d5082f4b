import { request as httpRequest, type ClientRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CaissonError, type Clock } from "@caisson/contract";
import type { Upgrade } from "../http/upgrade.ts";
import type { HeaderLines } from "./preview-headers.ts";
import { splice } from "./splice.ts";

/** Largest header of an answer, in bytes. */
const MAX_HEAD = 65_536;
/** What a header line may hold; the parser lets more through. */
const PRINTABLE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** A request on its way into a sandbox. */
export interface ForwardedRequest {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  /** The connection to the server in the sandbox: for this request alone, so that no other can be confused with it. */
  readonly connection: Duplex;
  /** Path and query. */
  readonly path: string;
  readonly headers: HeaderLines;
  /** What becomes of the header of the answer. */
  readonly answerLines: (answer: IncomingMessage) => HeaderLines;
  /** Where the client waits for a switch to WebSocket. */
  readonly upgrade?: Upgrade;
  /** How long the server in the sandbox may think, once it has the request, in ms. */
  readonly headDeadlineMs: number;
  readonly clock: Clock;
}

/**
 * Sends a request to a server in a sandbox and its answer to the client, at the pace of the slower, and ends both together.
 * Resolves when the answer is out. Rejects with `upstream_failed` or `deadline_exceeded`; when part of an answer was sent by
 * then, the client's connection is broken, which tells it that the answer is not whole.
 */
export async function forwardRequest(forwarded: ForwardedRequest): Promise<void> {
  const { message, response, connection } = forwarded;
  try {
    const outgoing = start(forwarded);
    const { answer, inside } = await answered(outgoing, forwarded);
    if (inside !== undefined) return await switchProtocols(answer, inside, forwarded);
    const lines = forwarded.answerLines(answer);
    checkHead(answer, lines);
    response.writeHead(answer.statusCode ?? 502, lines);
    // A stream of events may have none yet, and its reader waits for the head.
    response.flushHeaders();
    await pipeline(answer, response);
  } catch (error) {
    throw explain(error);
  } finally {
    message.unpipe();
    connection.destroy();
  }
}

function start({ message, connection, path, headers, upgrade }: ForwardedRequest): ClientRequest {
  const lines = upgrade === undefined ? headers : [...headers, "Connection", "Upgrade", "Upgrade", "websocket"];
  const outgoing = httpRequest({
    createConnection: () => connection,
    method: message.method,
    path,
    headers: lines,
    setHost: false,
    maxHeaderSize: MAX_HEAD,
  });
  if (message.headers["transfer-encoding"] === undefined && message.headers["content-length"] === undefined) outgoing.end();
  else {
    if (message.headers.expect !== undefined) outgoing.flushHeaders();
    message.pipe(outgoing);
  }
  return outgoing;
}

/** The head of an answer; after a switch with the connection, which speaks another protocol from then on. */
interface Answered {
  readonly answer: IncomingMessage;
  readonly inside?: Upgrade;
}

function answered(outgoing: ClientRequest, forwarded: ForwardedRequest): Promise<Answered> {
  const { message, response, clock, headDeadlineMs } = forwarded;
  return new Promise((resolve, reject) => {
    const late = (): void =>
      reject(new CaissonError("deadline_exceeded", `The server at that port did not answer within ${headDeadlineMs / 1000} s.`));
    let timer = { cancel: (): void => undefined };
    const settle = (): void => timer.cancel();
    outgoing.once("finish", () => (timer = clock.schedule(headDeadlineMs, late)));
    // It stays: a server may break off at any time, also after its answer.
    outgoing.on("error", (error) => {
      settle();
      reject(error);
    });
    outgoing.once("close", () => {
      settle();
      reject(new CaissonError("upstream_failed", "The server at that port closed the connection without an answer."));
    });
    outgoing.on("continue", () => {
      if (message.headers.expect !== undefined && !response.headersSent) response.writeContinue();
    });
    outgoing.once("response", (answer) => {
      settle();
      answer.on("error", () => undefined); // told by whoever reads it
      resolve({ answer });
    });
    outgoing.once("upgrade", (answer, socket, head) => {
      settle();
      resolve({ answer, inside: { socket, head } });
    });
  });
}

async function switchProtocols(answer: IncomingMessage, inside: Upgrade, forwarded: ForwardedRequest): Promise<void> {
  const { upgrade: outside, response } = forwarded;
  if (outside === undefined || answer.headers.upgrade?.toLowerCase() !== "websocket")
    throw new CaissonError("upstream_failed", "The server at that port switched to a protocol that nobody asked for.");
  const lines = forwarded.answerLines(answer);
  checkHead(answer, lines);
  let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  for (let i = 0; i + 1 < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  response.detachSocket(outside.socket as never);
  outside.socket.write(Buffer.from(`${head}\r\n`, "latin1"));
  await splice(outside, inside);
}

/** Refuses a head that could be read as something else further on. */
function checkHead(answer: IncomingMessage, lines: HeaderLines): void {
  const status = answer.statusCode ?? 0;
  if (status < 101 || status > 599 || !lines.every((text) => PRINTABLE.test(text)))
    throw new CaissonError("upstream_failed", "The server at that port sent a malformed answer.");
}

/** A failure of the connection into the sandbox, or of what came over it. */
function explain(error: unknown): unknown {
  if (error instanceof CaissonError) return error;
  const { code = "" } = error as { code?: string };
  if (code === "ERR_STREAM_PREMATURE_CLOSE") return new CaissonError("cancelled", "The client went away.", { cause: error });
  if (code === "ERR_UNESCAPED_CHARACTERS" || code === "ERR_INVALID_CHAR")
    return new CaissonError("invalid_request", "The path or a header holds characters that HTTP does not allow.", { cause: error });
  const what = code.startsWith("HPE_HEADER_OVERFLOW")
    ? `sent a header of more than ${MAX_HEAD} bytes`
    : code.startsWith("HPE_")
      ? "sent what is not HTTP"
      : "broke off the connection";
  return new CaissonError("upstream_failed", `The server at that port ${what}.`, { cause: error });
}
