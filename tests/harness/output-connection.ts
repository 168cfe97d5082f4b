import { request, type IncomingMessage } from "node:http";
import { ndjsonRecords, outputBytes } from "./ndjson.ts";
import type { ApiAccess } from "./api-access.ts";

/** How output is asked for: as records of NDJSON, or as the bare bytes of standard output. */
export type OutputForm = "records" | "bytes";

/** What one connection says of standard output. */
export type Said =
  | { readonly type: "bytes"; readonly offset: number; readonly bytes: Buffer }
  | { readonly type: "gap"; readonly from: number; readonly to: number }
  /** The end of the process: told by a record, or by the clean end of the bytes. */
  | { readonly type: "end" };

/**
 * One connection that follows a process's standard output from an offset, read no faster than its consumer. It is attached
 * when this resolves; leaving the loop cuts it. Throws when it ends without the end of the process.
 */
export async function openOutput(
  server: ApiAccess,
  path: string,
  { offset, form }: { readonly offset: number; readonly form: OutputForm },
): Promise<AsyncGenerator<Said, void, void>> {
  const message = await open(server, `${path}/output?stdout_offset=${offset}`, form);
  return form === "records" ? records(message) : bytes(message, offset);
}

async function* records(message: IncomingMessage): AsyncGenerator<Said, void, void> {
  for await (const record of ndjsonRecords(message)) {
    if (record.type === "error") throw new Error(`${record.code}: ${record.message}`);
    if (record.type === "exit") yield { type: "end" };
    else if (record.type === "gap" && record.stream === "stdout") yield record;
    else if (record.type === "output" && record.stream === "stdout")
      yield { type: "bytes", offset: record.offset, bytes: outputBytes(record) };
  }
}

async function* bytes(message: IncomingMessage, asked: number): AsyncGenerator<Said, void, void> {
  let offset = Number(message.headers["x-output-offset"]);
  if (offset > asked) yield { type: "gap", from: asked, to: offset };
  for await (const chunk of message as AsyncIterable<Buffer>) {
    yield { type: "bytes", offset, bytes: chunk };
    offset += chunk.length;
  }
  yield { type: "end" };
}

function open(server: ApiAccess, path: string, form: OutputForm): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const accept = form === "records" ? "application/x-ndjson" : "application/octet-stream";
  const asking = request(`${server.url}/api/v1${path}`, { agent: false, headers: { "x-api-key": server.apiKey, accept } }, (message) => {
    if (message.statusCode === 200) return resolve(message);
    message.resume();
    reject(new Error(`${path}: ${message.statusCode}`));
  });
  asking.on("error", reject);
  asking.end();
  return promise;
}
