import type { ExecRecord, Process, Sandbox } from "@caisson/contract";
import { ndjsonRecords, outputBytes } from "../tests/harness/ndjson.ts";
import type { TestServer } from "../tests/harness/server.ts";
import { drain, LeanClient } from "./lean-client.ts";
import { bare, flow, reportFlows, type Flow } from "./measure.ts";
import { measuredFlow } from "./measured-flow.ts";

const BYTES = 200_000_000;

/** What is streamed: each command writes `BYTES` bytes. */
const COMMANDS = {
  "text: seq": `seq 1 ${BYTES} | head -c ${BYTES}`,
  "bytes: a cached file": `[ -s /tmp/bench-bytes ] || head -c 20000000 /dev/urandom > /tmp/bench-bytes; for i in 1 2 3 4 5 6 7 8 9 10; do cat /tmp/bench-bytes; done`,
} as const;

/** Standard output through the API, against a bare pipe from the same command to Node. */
export async function compareStreams(server: TestServer, rounds: number): Promise<void> {
  const { id } = await server.json<Sandbox>("POST", "/sandboxes", {});
  using client = new LeanClient(server);
  for (const [name, command] of Object.entries(COMMANDS)) {
    const pipe = flow("a pipe to Node");
    const raw = flow("Caisson: the bytes of stdout");
    const records = flow("Caisson: NDJSON, read as lines");
    const parsed = flow("Caisson: NDJSON, each record decoded");
    const background = async (): Promise<string> => {
      const json = { command, background: true, on_full: "block" };
      const started = await client.json<Process>({ method: "POST", path: `/sandboxes/${id}/exec`, json });
      return `/sandboxes/${id}/processes/${started.process_id}/output`;
    };
    const runs: readonly (readonly [Flow, () => Promise<number>])[] = [
      [pipe, () => bare("sh", ["-c", command])],
      [
        raw,
        async () => drain(await client.open({ method: "GET", path: await background(), headers: { accept: "application/octet-stream" } })),
      ],
      [records, async () => Math.min(BYTES, await drain(await execStream(client, id, command)))],
      [
        parsed,
        async () => {
          let bytes = 0;
          for await (const record of ndjsonRecords(await execStream(client, id, command)) as AsyncIterable<ExecRecord>)
            if (record.type === "output") bytes += outputBytes(record).length;
          return bytes;
        },
      ],
    ];
    for (let round = -1; round < rounds; round += 1)
      for (const [into, run] of runs) await measuredFlow(server, [id], round < 0 ? flow("") : into, BYTES, run);
    reportFlows(`Streamed stdout, ${name}, ${BYTES / 1e6} MB`, BYTES, pipe, [raw, records, parsed]);
  }
  await server.json("DELETE", `/sandboxes/${id}`);
}

function execStream(client: LeanClient, id: string, command: string) {
  return client.open({ method: "POST", path: `/sandboxes/${id}/exec`, json: { command, stream: true } });
}
