import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { getCACertificates } from "node:tls";
import { CaissonError, fromWire } from "@caisson/contract";

/** Largest answer that is read, in bytes. */
const MAX_ANSWER = 131_072;
/** Time for an answer, in ms. */
const ANSWER_MS = 20_000;

/** A request to a control plane. */
export interface ControlPlaneRequest {
  /** Its address: scheme, host and perhaps a port. */
  readonly url: string;
  /** Path below `/api/v1`. */
  readonly path: string;
  readonly body: object;
  readonly headers?: Readonly<Record<string, string>>;
  /** Certificates to trust besides the machine's, PEM. */
  readonly ca: readonly string[];
  /** Client certificate and key, PEM. */
  readonly client?: { readonly cert: string; readonly key: string };
  readonly signal?: AbortSignal;
}

/** An answer: JSON, or the error that it tells. */
export interface ControlPlaneAnswer {
  readonly status: number;
  readonly body: unknown;
  readonly headers: IncomingMessage["headers"];
}

/** Posts JSON to a control plane. Rejects with `control_unavailable` when no answer comes; an error that is answered is an answer. */
export async function askControlPlane(asked: ControlPlaneRequest): Promise<ControlPlaneAnswer> {
  const deadline = AbortSignal.timeout(ANSWER_MS);
  const signal = asked.signal === undefined ? deadline : AbortSignal.any([asked.signal, deadline]);
  try {
    const { response, text } = await send(asked, signal);
    return { status: response.statusCode ?? 0, body: parseAnswer(text, asked.url), headers: response.headers };
  } catch (cause) {
    if (asked.signal?.aborted === true) throw asked.signal.reason;
    if (cause instanceof CaissonError) throw cause;
    const why = deadline.aborted ? `no answer within ${ANSWER_MS / 1000} s` : cause instanceof Error ? cause.message : String(cause);
    throw new CaissonError("control_unavailable", `The control plane at ${asked.url} cannot be asked: ${why}.`, { cause });
  }
}

/** The error that an answer tells. */
export function errorOf({ status, body }: ControlPlaneAnswer): CaissonError {
  const told = typeof body === "object" && body !== null ? fromWire(body) : new CaissonError("internal", "");
  const known = typeof body === "object" && body !== null && "code" in body;
  return known
    ? told
    : new CaissonError("protocol_error", `The control plane answered with status ${status} and no error of Caisson's; check its address.`);
}

function send(asked: ControlPlaneRequest, signal: AbortSignal): Promise<{ readonly response: IncomingMessage; readonly text: string }> {
  const { url, path, headers, ca, client } = asked;
  const body = JSON.stringify(asked.body);
  const target = new URL(`/api/v1${path}`, url);
  const options = {
    method: "POST",
    signal,
    agent: false,
    headers: { "content-type": "application/json", "content-length": String(Buffer.byteLength(body)), ...headers },
  };
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      const pieces: Buffer[] = [];
      let size = 0;
      response.on("data", (piece: Buffer) => {
        size += piece.length;
        if (size > MAX_ANSWER) request.destroy(new Error(`its answer is larger than ${MAX_ANSWER} bytes`));
        else pieces.push(piece);
      });
      response.on("end", () => resolve({ response, text: Buffer.concat(pieces).toString("utf8") }));
      response.on("error", reject);
    };
    // To name certificates is to replace the ones of the machine, so these are named too.
    const tls = { ...(ca.length === 0 ? {} : { ca: [...getCACertificates("default"), ...ca] }), ...client };
    const request: ClientRequest =
      target.protocol === "https:" ? httpsRequest(target, { ...options, ...tls }, take) : httpRequest(target, options, take);
    request.on("error", reject);
    request.end(body);
  });
}

function parseAnswer(text: string, url: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CaissonError("protocol_error", `What answers at ${url} is no control plane.`, { cause });
  }
}
