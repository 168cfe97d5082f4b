import type { SearchRecord } from "@caisson/contract";
import type { SearchMatch, SearchSummary } from "@caisson/guest";
import type { FastifyReply, FastifyRequest } from "fastify";
import { NdjsonStream } from "../http/ndjson-stream.ts";
import { PatientReader } from "../http/patient-reader.ts";
import { toWireError } from "../http/problem.ts";
import type { DataServices } from "../server-options.ts";
import { noting } from "./noting.ts";
import { callersPatience } from "./patience.ts";

/**
 * Answers with the matches of a search, line by line, at the pace of the client; the last record is `summary` or `error`.
 * A search that cannot begin is an ordinary error answer. Throws what the `error` record told; the answer has been given by then.
 */
export async function streamMatches(
  request: FastifyRequest,
  reply: FastifyReply,
  found: AsyncGenerator<readonly SearchMatch[], SearchSummary, void>,
  services: DataServices,
): Promise<void> {
  const { scope } = request;
  let summary: SearchSummary | undefined;
  using reader = new PatientReader(
    noting(found, (last) => (summary = last)),
    callersPatience(services, scope.signal),
  );
  // Until the first answer of the sandbox the request can still be refused.
  let batch = await reader.next();
  const stream = new NdjsonStream<SearchRecord>(reply, scope.signal);
  stream.repeat({ type: "alive" }, { clock: services.clock, everyMs: services.limits.aliveMs });
  let matches = 0;
  try {
    for (; batch !== undefined; batch = await reader.next()) {
      for (const match of batch) {
        const room = stream.write({ type: "match", ...match });
        if (room !== undefined) await room;
      }
      matches += batch.length;
    }
    const { files = 0, skipped = 0, truncated = false } = summary ?? {};
    stream.end({ type: "summary", matches, files, skipped, truncated });
  } catch (thrown) {
    const { error } = toWireError(thrown);
    scope.failure = error;
    if (error.code === "internal") request.log.error({ err: error.cause ?? error }, "search failed");
    stream.end({ type: "error", code: error.code, message: error.message, remedy: error.entry.remedy });
    throw thrown;
  }
}
