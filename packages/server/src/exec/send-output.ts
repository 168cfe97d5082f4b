import { CaissonError } from "@caisson/contract";
import type { Guest, ProcessOutput } from "@caisson/guest";
import type { FastifyReply, FastifyRequest } from "fastify";
import { BodyWriter } from "../http/body-writer.ts";
import { sendHead } from "../http/send-head.ts";
import { readOutput, type OutputBounds } from "./read-output.ts";

/** The part of a process's output that is wanted as bytes. */
export interface WantedBytes {
  readonly processId: number;
  readonly stream: "stdout" | "stderr";
  /** Offset of the first byte. */
  readonly offset: number;
  readonly follow: boolean;
}

/**
 * Answers with the bytes of one stream and nothing else, at the pace of the client. What was dropped before the first byte
 * is told in a header; a gap after it, like every failure, breaks the connection. The other stream counts as taken, so that
 * nobody need read it for the process to go on.
 */
export async function sendOutput(
  request: FastifyRequest,
  reply: FastifyReply,
  guest: Guest,
  { processId, stream, offset, follow }: WantedBytes,
  bounds: Omit<OutputBounds, "signal">,
): Promise<void> {
  const { scope } = request;
  const { stdout, stderr } = await guest.session(processId, scope.bound);
  const [wanted, other] = stream === "stdout" ? [stdout, stderr] : [stderr, stdout];
  const from = stream === "stdout" ? { stdoutOffset: offset, stderrOffset: other.end } : { stdoutOffset: other.end, stderrOffset: offset };
  const attached = await guest.attach(processId, { ...from, follow }, scope.bound);
  using _detach = { [Symbol.dispose]: () => attached.detach() };
  using reader = readOutput(attached, { ...bounds, signal: scope.signal });
  // A silent process may say its first byte much later; only a gap is there at once.
  let output: ProcessOutput | undefined;
  if (wanted.start > offset)
    do output = await reader.next();
    while (output !== undefined && output.type !== "exit" && output.stream !== stream);
  const gap = output?.type === "gap" ? output : undefined;
  const start = gap?.to ?? offset;
  if (gap !== undefined) output = undefined;
  sendHead(reply, 200, {
    "content-type": "application/octet-stream",
    "x-output-offset": start,
    ...(gap === undefined ? {} : { "x-output-gap": gap.to - gap.from }),
  });
  reply.raw.flushHeaders();
  using body = new BodyWriter(reply.raw, scope.signal);
  for (output ??= await reader.next(); output !== undefined && output.type !== "exit"; output = await reader.next()) {
    if (output.stream !== stream) continue;
    if (output.type === "gap")
      throw new CaissonError("io_error", `Bytes ${output.from} to ${output.to} of ${stream} were dropped before they could be sent.`);
    body.write(output.bytes);
    if (body.full) await body.room();
  }
  body.end();
}
