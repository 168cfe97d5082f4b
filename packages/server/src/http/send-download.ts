import { CaissonError } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { BodyWriter } from "./body-writer.ts";
import type { PatientReader } from "./patient-reader.ts";
import { sendProblem } from "./problem.ts";
import { sendHead } from "./send-head.ts";

/** What a download is. */
export interface Download {
  readonly status: 200 | 206;
  readonly content: PatientReader<Uint8Array>;
  /** Bytes promised as `Content-Length`; undefined when they are not known. */
  readonly length: number | undefined;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/**
 * Answers with bytes at the pace of the client. The first bytes are waited for, so that a read that fails at once is still
 * an error answer. A content that turns out shorter than promised breaks the connection; a longer one is cut at the promise.
 */
export async function sendDownload(reply: FastifyReply, { status, content, length, headers, signal }: Download): Promise<void> {
  let bytes = await content.next();
  sendHead(reply, status, { ...headers, ...(length === undefined ? {} : { "content-length": length }) });
  using body = new BodyWriter(reply.raw, signal);
  let left = length ?? Number.POSITIVE_INFINITY;
  for (; bytes !== undefined && left > 0; bytes = await content.next()) {
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    left -= part.length;
    body.write(part);
    if (body.full) await body.room();
  }
  if (length !== undefined && left > 0) throw new CaissonError("io_error", "The file became shorter while it was read.");
  body.end();
}

/** Runs what answers with bytes. A failure before the answer began is thrown on; a later one breaks the connection. */
export async function answerWithBytes(request: FastifyRequest, reply: FastifyReply, run: () => Promise<void>): Promise<FastifyReply> {
  try {
    await run();
  } catch (error) {
    if (!reply.sent) throw error;
    sendProblem(request, reply, error);
  }
  return reply;
}
