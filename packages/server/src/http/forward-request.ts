import { request as httpRequest, type ClientRequest, type IncomingMessage, type ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import { CaissonError, type Clock, type ErrorCode } from "@caisson/contract";
import { askForBody } from "./ask-for-body.ts";
import { hasBody, type HeaderLines } from "./header-lines.ts";
import { splice } from "./splice.ts";
import type { Upgrade } from "./upgrade.ts";

/** Largest header of an answer, in bytes. */
const MAX_HEAD = 65_536;
/** What a header line may hold; the parser lets more through. */
const PRINTABLE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** A request on its way to another server. */
export interface ForwardedRequest {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  /** The connection to that server: for this request alone, so that no other can be confused with it. */
  readonly connection: Duplex;
  /** Path and query. */
  readonly path: string;
  readonly headers: HeaderLines;
  /** What becomes of the header of the answer. */
  readonly answerLines: (answer: IncomingMessage) => HeaderLines;
  /** What becomes of its body. Default: it is sent as it comes. */
  readonly body?: (answer: IncomingMessage) => AsyncIterable<Uint8Array>;
  /** Takes the connection of a client that waits for a switch to WebSocket over from HTTP. */
  readonly upgrade?: () => Upgrade;
  /** Who answers, in words, and the code for what is wrong with him. */
  readonly server: { readonly name: string; readonly code: ErrorCode };
  /** How long he may think, once he has the request, in ms. Default: any time. */
  readonly headDeadlineMs?: number;
  /** Where somebody else can be asked instead. */
  readonly choice?: {
    /** Whether this answer says that he did nothing. */
    readonly declined: (answer: IncomingMessage) => boolean;
    /** A body is kept back until he asks for it, for so many ms; he counts as having declined when he does not. */
    readonly askMs: number;
  };
  readonly clock: Clock;
}

/**
 * Sends a request to another server and its answer to the client, at the pace of the slower, and ends both together. Resolves
 * when the answer is out, or with `declined` when nothing was done and the body, if any, is untouched. Rejects with the
 * server's code or `deadline_exceeded`; when part of an answer was sent by then, the client's connection is broken, which
 * tells it that the answer is not whole.
 */
export async function forwardRequest(forwarded: ForwardedRequest): Promise<"answered" | "declined"> {
  const { message, response, connection, choice } = forwarded;
  let begun = (): boolean => false;
  try {
    const sending = start(forwarded);
    begun = sending.begun;
    const { answer, inside } = await answered(sending, forwarded);
    if (!begun() && choice?.declined(answer) === true) return "declined";
    if (inside !== undefined) {
      await switchProtocols(answer, inside, forwarded);
      return "answered";
    }
    const lines = forwarded.answerLines(answer);
    checkHead(answer, lines, forwarded);
    response.writeHead(answer.statusCode ?? 502, lines);
    // A stream of events may have none yet, and its reader waits for the head.
    response.flushHeaders();
    await pipeline(forwarded.body?.(answer) ?? answer, response);
    return "answered";
  } catch (error) {
    if (choice !== undefined && hasBody(message.headers) && !begun() && !response.headersSent) return "declined";
    throw explain(error, forwarded);
  } finally {
    message.unpipe();
    connection.destroy();
  }
}

/** A request that is being sent. */
interface Sending {
  readonly outgoing: ClientRequest;
  /** Whether any of its body may have left. */
  readonly begun: () => boolean;
}

function start({ message, connection, path, headers, upgrade, choice }: ForwardedRequest): Sending {
  const lines = upgrade === undefined ? headers : [...headers, "Connection", "Upgrade", "Upgrade", "websocket"];
  const outgoing = httpRequest({
    createConnection: () => connection,
    method: message.method,
    path,
    headers: lines,
    setHost: false,
    maxHeaderSize: MAX_HEAD,
  });
  let begun = false;
  const send = (): void => {
    begun = true;
    message.pipe(outgoing);
  };
  if (!hasBody(message.headers)) outgoing.end();
  else {
    if (message.headers.expect !== undefined || choice !== undefined) outgoing.flushHeaders();
    if (choice === undefined) send();
    else outgoing.once("continue", send);
  }
  return { outgoing, begun: () => begun };
}

/** The head of an answer; after a switch with the connection, which speaks another protocol from then on. */
interface Answered {
  readonly answer: IncomingMessage;
  readonly inside?: Upgrade;
}

function answered({ outgoing, begun }: Sending, forwarded: ForwardedRequest): Promise<Answered> {
  const { message, response, server, clock, headDeadlineMs, choice } = forwarded;
  return new Promise((resolve, reject) => {
    let timer = { cancel: (): void => undefined };
    const within = (ms: number): void => {
      const late = new CaissonError("deadline_exceeded", `${server.name} did not answer within ${ms / 1000} s.`);
      timer = clock.schedule(ms, () => reject(late));
    };
    const settle = (): void => timer.cancel();
    if (choice !== undefined && hasBody(message.headers)) within(choice.askMs);
    outgoing.once("finish", () => {
      settle();
      if (headDeadlineMs !== undefined) within(headDeadlineMs);
    });
    // It stays: a server may break off at any time, also after its answer.
    outgoing.on("error", (error) => {
      settle();
      reject(error);
    });
    outgoing.once("close", () => {
      settle();
      reject(new CaissonError(server.code, `${server.name} closed the connection without an answer.`));
    });
    outgoing.on("continue", () => {
      if (choice !== undefined && begun()) settle();
      if (!response.headersSent) askForBody(message, response);
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
  const { upgrade, server } = forwarded;
  if (upgrade === undefined || answer.headers.upgrade?.toLowerCase() !== "websocket")
    throw new CaissonError(server.code, `${server.name} switched to a protocol that nobody asked for.`);
  const lines = forwarded.answerLines(answer);
  checkHead(answer, lines, forwarded);
  let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  for (let i = 0; i + 1 < lines.length; i += 2) head += `${lines[i]}: ${lines[i + 1]}\r\n`;
  const outside = upgrade();
  outside.socket.write(Buffer.from(`${head}\r\n`, "latin1"));
  await splice(outside, inside);
}

/** Refuses a head that could be read as something else further on. */
function checkHead(answer: IncomingMessage, lines: HeaderLines, { server }: ForwardedRequest): void {
  const status = answer.statusCode ?? 0;
  if (status < 101 || status > 599 || !lines.every((text) => PRINTABLE.test(text)))
    throw new CaissonError(server.code, `${server.name} sent a malformed answer.`);
}

/** A failure of the connection to the server, or of what came over it. */
function explain(error: unknown, { server }: ForwardedRequest): unknown {
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
  return new CaissonError(server.code, `${server.name} ${what}.`, { cause: error });
}
