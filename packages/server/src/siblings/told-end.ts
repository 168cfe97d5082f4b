import type { IncomingMessage } from "node:http";
import type { CaissonError } from "@caisson/contract";

/** How streams of the API tell why they end, by their media type: behind what a whole record ends with, and as what. */
const ENDINGS: Readonly<Record<string, { readonly after: string; readonly record: (error: CaissonError) => string }>> = {
  "application/x-ndjson": {
    after: "\n",
    record: ({ code, message, entry }) => `${JSON.stringify({ type: "error", code, message, remedy: entry.remedy })}\n`,
  },
  "text/event-stream": {
    after: "\n\n",
    record: ({ code, message, entry: { remedy, retryable } }) =>
      `event: error\ndata: ${JSON.stringify({ code, message, remedy, retryable })}\n\n`,
  },
};

/**
 * The body of an answer that came from another control plane. A stream of records that breaks off between two of them ends with
 * the `error` that its form has; anything else that breaks off throws, so that it never looks whole.
 */
export async function* toldEnd(answer: IncomingMessage, why: (cause: unknown) => CaissonError): AsyncGenerator<Uint8Array, void, void> {
  const ending = ENDINGS[answer.headers["content-type"]?.split(";", 1)[0] ?? ""];
  let last = ending?.after ?? "";
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      last = (last + chunk.subarray(-2).toString("latin1")).slice(-2);
      yield chunk;
    }
  } catch (cause) {
    const error = why(cause);
    if (ending === undefined || !last.endsWith(ending.after)) throw error;
    yield Buffer.from(ending.record(error));
  }
}
