import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { getCACertificates } from "node:tls";
import { CaissonError } from "@caisson/contract";

/** Time for an answer, in ms. */
const ANSWER_MS = 5_000;
/** Most bytes of an answer that are read. */
const MOST_BYTES = 65_536;

/** What an address answers. */
export interface UrlAnswer {
  readonly status: number;
  /** Its `Date` header. */
  readonly date: string | undefined;
  /** The beginning of what it says. */
  readonly body: string;
}

/** Asks an address once, within 5 s: as a worker does, with `ca` (PEM) trusted besides the machine's certificates. No redirect is followed. */
export function askUrl(url: URL, ca: readonly string[], stop?: AbortSignal): Promise<UrlAnswer> {
  const deadline = AbortSignal.timeout(ANSWER_MS);
  const signal = stop === undefined ? deadline : AbortSignal.any([stop, deadline]);
  return new Promise((resolve, reject) => {
    const failed = (error: Error): void => reject(signal.aborted ? (signal.reason as Error) : error);
    let answered = false;
    const take = (response: IncomingMessage): void => {
      answered = true;
      const pieces: Buffer[] = [];
      let bytes = 0;
      const end = (): void => {
        const body = Buffer.concat(pieces).toString("utf8");
        resolve({ status: response.statusCode ?? 0, date: response.headers.date, body });
      };
      response.on("data", (piece: Buffer) => {
        pieces.push(piece);
        bytes += piece.length;
        if (bytes < MOST_BYTES) return;
        end();
        request.destroy();
      });
      response.on("end", end);
      response.on("error", failed);
    };
    // To name certificates is to replace the ones of the machine, so these are named too.
    const tls = ca.length === 0 ? {} : { ca: [...getCACertificates("default"), ...ca] };
    const request =
      url.protocol === "https:" ? httpsGet(url, { agent: false, signal, ...tls }, take) : httpGet(url, { agent: false, signal }, take);
    request.on("error", failed);
    // An answer that switches to another protocol is none, and no error to Node.
    request.on("close", () => {
      if (!answered) failed(new CaissonError("protocol_error", "the connection was closed without an answer"));
    });
  });
}

/** Why no answer came, for people: `ECONNREFUSED` says more than a stack. */
export function whyNoAnswer(error: unknown): string {
  if (error instanceof CaissonError) return error.message;
  const { code } = error as { code?: unknown };
  if (typeof code === "string") return code;
  return error instanceof Error && error.name === "TimeoutError" ? `no answer within ${ANSWER_MS / 1000} s` : String(error);
}
