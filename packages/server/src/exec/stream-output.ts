import type { ExecRecord } from "@caisson/contract";
import type { AttachedProcess } from "@caisson/guest";
import type { FastifyReply, FastifyRequest } from "fastify";
import { NdjsonStream } from "../http/ndjson-stream.ts";
import { toWireError } from "../http/problem.ts";
import { OutputReader, type ReaderBounds } from "./output-reader.ts";
import { OutputRecords } from "./output-records.ts";

/**
 * Answers with what a process says, line by line, at the pace of the client. The last record is `exit`, or `error` when
 * the end cannot be told; without `follow`, a process that still runs has neither. The process is never ended by this.
 */
export async function streamOutput(
  request: FastifyRequest,
  reply: FastifyReply,
  attached: AttachedProcess,
  bounds: Omit<ReaderBounds, "signal">,
): Promise<void> {
  const { scope } = request;
  using reader = new OutputReader(attached, { ...bounds, signal: scope.signal });
  const stream = new NdjsonStream<ExecRecord>(reply, scope.signal);
  const records = new OutputRecords();
  try {
    await stream.write({ type: "start", process_id: attached.id, pid: attached.pid });
    for (;;) {
      const output = await reader.next();
      if (output === undefined) return stream.end(...records.rest());
      const made = records.of(output);
      if (output.type === "exit") return stream.end(...made);
      for (const record of made) await stream.write(record);
    }
  } catch (thrown) {
    const { error } = toWireError(thrown);
    scope.failure = error;
    if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "stream failed");
    stream.end(...records.rest(), { type: "error", code: error.code, message: error.message, remedy: error.entry.remedy });
  }
}
