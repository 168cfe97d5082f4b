import { EXEC_JSON_LIMIT, type CodeOutcome, type CodeRecord, type CodeResult } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { OutputCollector } from "../exec/output-collector.ts";
import { NdjsonStream } from "../http/ndjson-stream.ts";
import { toWireError } from "../http/problem.ts";
import type { CodeEnd, CodeEvent, CodeRun } from "./run-code.ts";

/** Most characters of results that one JSON answer holds; of later ones only the names of their formats. */
const RESULTS_LIMIT = 33_554_432;
/** Most results of one JSON answer. */
const RESULTS_COUNT = 1_000;

type Head = Pick<CodeOutcome, "execution_id" | "context_id">;

function headOf(run: CodeRun): Head {
  return { execution_id: run.executionId, context_id: run.context.id };
}

/** Waits for code to end and gathers what it said. */
export async function collectCode(run: CodeRun, events: AsyncIterable<CodeEvent>): Promise<CodeOutcome> {
  const streams = { stdout: new OutputCollector(EXEC_JSON_LIMIT), stderr: new OutputCollector(EXEC_JSON_LIMIT) };
  const results: CodeResult[] = [];
  let size = 0;
  let end: CodeEnd | undefined;
  for await (const event of events) {
    if (event.type === "output") streams[event.stream].add(event.bytes);
    else if (event.type === "gap") streams[event.stream].gap();
    else if (event.type === "result") {
      size += event.size;
      const { result } = event;
      const kept =
        size <= RESULTS_LIMIT ? result : { ...result, formats: {}, omitted: [...Object.keys(result.formats), ...result.omitted] };
      if (results.length < RESULTS_COUNT) results.push(kept);
      // The main one comes last and is always told; code can say of ever so many that they are.
      else if (result.is_main_result) results[RESULTS_COUNT] = kept;
    } else if (event.type === "end") {
      const { type: _type, ...rest } = event;
      end = rest;
    }
  }
  if (end === undefined) throw new Error("the events of a run ended without an end");
  const { stdout, stderr } = streams;
  return {
    ...headOf(run),
    ...end,
    stdout: stdout.text(),
    stdout_truncated: stdout.truncated,
    stderr: stderr.text(),
    stderr_truncated: stderr.truncated,
    results,
  };
}

/**
 * Answers with what code says, line by line, at the pace of the client; the last record is `end` or `error`. When the client
 * goes away the rest is read all the same: the code's timeout hangs on it. Every `aliveMs` a record says that it still runs.
 * Throws what the `error` record told.
 */
export async function streamCode(
  request: FastifyRequest,
  reply: FastifyReply,
  run: CodeRun,
  events: AsyncIterable<CodeEvent>,
  aliveMs: number,
): Promise<void> {
  const { scope } = request;
  // The head goes out when the code begins: what fails before that is an ordinary error.
  let stream: NdjsonStream<CodeRecord> | undefined;
  const texts = { stdout: new TextDecoder("utf-8", { ignoreBOM: true }), stderr: new TextDecoder("utf-8", { ignoreBOM: true }) };
  try {
    for await (const event of events) {
      if (stream === undefined) {
        stream = new NdjsonStream<CodeRecord>(reply, scope.signal);
        stream.repeat({ type: "alive" }, { clock: run.clock, everyMs: aliveMs });
      }
      if (event.type === "end") {
        for (const name of ["stdout", "stderr"] as const) {
          const text = texts[name].decode();
          if (text !== "") void stream.write({ type: name, text });
        }
        return stream.end({ ...headOf(run), ...event });
      }
      const record: CodeRecord | undefined = event.type === "start" ? { type: "start", ...headOf(run) } : recordOf(event, texts);
      if (record === undefined || scope.signal.aborted) continue;
      // A client that leaves while it is waited for is noticed with the next event.
      await stream.write(record)?.catch(() => undefined);
    }
  } catch (thrown) {
    if (stream === undefined) throw thrown;
    const { error } = toWireError(thrown);
    scope.failure = error;
    if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "stream failed");
    stream.end({ type: "error", code: error.code, message: error.message, remedy: error.entry.remedy });
    throw thrown;
  }
}

function recordOf(
  event: Exclude<CodeEvent, { type: "start" | "end" }>,
  texts: Readonly<Record<"stdout" | "stderr", InstanceType<typeof TextDecoder>>>,
): CodeRecord | undefined {
  if (event.type === "result") return { type: "result", ...event.result };
  if (event.type === "gap") return undefined;
  const text = texts[event.stream].decode(event.bytes, { stream: true });
  return text === "" ? undefined : { type: event.stream, text };
}
