import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Sandbox } from "@caisson/contract";
import type { TestServer } from "../tests/harness/server.ts";
import { drain, LeanClient } from "./lean-client.ts";
import { bare, flow, reportFlows, type Flow } from "./measure.ts";
import { measuredFlow } from "./measured-flow.ts";

const BYTES = 200_000_000;

/**
 * Files into and out of a sandbox, against `cat` into and out of a file of the same file system through pipes of Node. Uploads
 * are on disk when they are answered, so the `cat` they are compared with is followed by a sync of its file.
 */
export async function compareTransfers(server: TestServer, rounds: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "caisson-bench-"));
  const { id } = await server.json<Sandbox>("POST", "/sandboxes", {});
  try {
    const source = join(folder, "source");
    writeFileSync(source, randomBytes(BYTES));
    const chunks = (): AsyncIterable<Buffer> => createReadStream(source, { highWaterMark: 262_144 });
    const path = `/sandboxes/${id}/files?path=/home/user/bench`;
    using client = new LeanClient(server);
    const catIn = flow("cat > file, synced");
    const upload = flow("Caisson: upload");
    const catOut = flow("cat file");
    const download = flow("Caisson: download");
    const headers = { "content-type": "application/octet-stream", "content-length": String(BYTES) };
    const target = join(folder, "target");
    const runs: readonly (readonly [Flow, () => Promise<number>])[] = [
      [catIn, async () => BYTES + (await bare("sh", ["-c", 'cat > "$0" && sync "$0"', target], chunks()))],
      [upload, async () => BYTES + 0 * (await drain(await client.open({ method: "PUT", path, headers, body: chunks() })))],
      [catOut, () => bare("cat", [source])],
      [download, async () => drain(await client.open({ method: "GET", path }))],
    ];
    for (let round = -1; round < rounds; round += 1)
      for (const [into, run] of runs) await measuredFlow(server, [id], round < 0 ? flow("") : into, BYTES, run);
    reportFlows(`Upload, ${BYTES / 1e6} MB`, BYTES, catIn, [upload]);
    reportFlows(`Download, ${BYTES / 1e6} MB`, BYTES, catOut, [download]);
  } finally {
    await server.fetch("DELETE", `/sandboxes/${id}`);
    rmSync(folder, { recursive: true, force: true });
  }
}
