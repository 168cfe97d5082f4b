import type { ExecRecord } from "@caisson/contract";

/** The records of a streamed answer, as they arrive. */
export function ndjson(response: Response): AsyncGenerator<ExecRecord, void, void> {
  if (response.body === null) throw new Error("no body");
  return ndjsonRecords(response.body);
}

/** The records in a stream of bytes, as they arrive. */
export async function* ndjsonRecords(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ExecRecord, void, void> {
  let parts: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, end));
      yield JSON.parse(Buffer.concat(parts).toString()) as ExecRecord;
      parts = [];
      from = end + 1;
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
  }
  if (parts.length > 0) throw new Error(`the stream ended inside a record: ${Buffer.concat(parts).toString().slice(0, 100)}`);
}

/** The bytes of an output record. */
export function outputBytes(record: Extract<ExecRecord, { type: "output" }>): Buffer {
  return Buffer.from(record.data, record.encoding === "base64" ? "base64" : "utf8");
}
