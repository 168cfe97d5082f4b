import type { ExecRecord } from "@caisson/contract";
import type { AttachedProcess } from "@caisson/guest";
import type { FastifyReply, FastifyRequest } from "fastify";
import { NdjsonStream } from "../http/ndjson-stream.ts";
import { toWireError } from "../http/problem.ts";
import { readOutput, type OutputBounds } from "./read-output.ts";
import { OutputRecords } from "./output-records.ts";

/**
 * Answers with what a process says, line by line, at the pace of the client. The last record is `exit`, or `error` when
 * the end cannot be told; without `follow`, a process that still runs has neither. The process is never ended by this.
 * Throws what the `error` record told, for those who keep account; the answer has been given by then.
 */
export async function streamOutput(
  request: FastifyRequest,
  reply: FastifyReply,
  attached: AttachedProcess,
  bounds: Omit<OutputBounds, "signal">,
): Promise<void> {
  const { scope } = request;
  using reader = readOutput(attached, { ...bounds, signal: scope.signal });
  const stream = new NdjsonStream<ExecRecord>(reply, scope.signal);
  const records = new OutputRecords();
  try {
    await stream.write({ type: "start", process_id: attached.id, pid: attached.pid });
    for (;;) {
      const output = await reader.next();
      if (output === undefined) return stream.end(...records.rest());
      const made = records.of(output);
      if (output.type === "exit") return stream.end(...made);
      for (const record of made) {
        const room = stream.write(record);
        if (room !== undefined) await room;
      }
    }
  } catch (thrown) {
    const { error } = toWireError(thrown);
    scope.failure = error;
    if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "stream failed");
    stream.end(...records.rest(), { type: "error", code: error.code, message: error.message, remedy: error.entry.remedy });
    throw thrown;
  } finally {
    attached.detach();
  }
}

/** Runs what streams an answer. A failure before the answer began is thrown on; a later one has been told in it. */
export async function answerWithStream(reply: FastifyReply, run: () => Promise<void>): Promise<FastifyReply> {
  try {
    await run();
  } catch (error) {
    if (!reply.sent) throw error;
  }
  return reply;
}
