import type { ExecRecord } from "@caisson/contract";

/** The records of a streamed answer, as they arrive. */
export async function* ndjson(response: Response): AsyncGenerator<ExecRecord, void, void> {
  if (response.body === null) throw new Error("no body");
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of response.body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line !== "") yield JSON.parse(line) as ExecRecord;
  }
  if (rest !== "") throw new Error(`the stream ended inside a record: ${rest.slice(0, 100)}`);
}

/** The bytes of an output record. */
export function outputBytes(record: Extract<ExecRecord, { type: "output" }>): Buffer {
  return Buffer.from(record.data, record.encoding === "base64" ? "base64" : "utf8");
}
