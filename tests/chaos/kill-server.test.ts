import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ExecRecord, Process, Sandbox } from "@caisson/contract";
import { expect, it } from "vitest";
import { tracesOf } from "../harness/machine.ts";
import { ndjson, outputBytes } from "../harness/ndjson.ts";
import { TestServer } from "../harness/server.ts";

const SANDBOXES = 20;
/** Processes of a sandbox that the machine's tables name: its supervisor, and below control groups what is inside. */
const SEEN_EACH = process.getuid?.() === 0 ? 2 : 1;
const CHUNK = 100_000;
const CHUNKS = 200;
const TOTAL = CHUNK * CHUNKS;

/** Writes 20 MB of bytes that depend on the seed, slowly enough that the server dies in the middle. */
const WRITER = `
import sys, time
seed = int(sys.argv[1])
block = bytes((seed * 31 + i * 7) % 256 for i in range(${CHUNK}))
for n in range(${CHUNKS}):
    sys.stdout.buffer.write(block[n:] + block[:n])
    sys.stdout.buffer.flush()
    time.sleep(0.03)
sys.exit(seed % 50)
`;

/** The digest of what WRITER writes. */
function expectedDigest(seed: number): string {
  const block = Buffer.from(Array.from({ length: CHUNK }, (_, i) => (seed * 31 + i * 7) % 256));
  const hash = createHash("sha256");
  for (let n = 0; n < CHUNKS; n += 1) hash.update(block.subarray(n)).update(block.subarray(0, n));
  return hash.digest("hex");
}

it("kill -9 of the server: 20 sandboxes, 20 MB each, byte-exact, nothing left", { timeout: 600_000 }, async () => {
  await using server = await TestServer.start();

  const sandboxes = await Promise.all(Array.from({ length: SANDBOXES }, () => server.json<Sandbox>("POST", "/sandboxes", {})));
  const ids = sandboxes.map((sandbox) => sandbox.id);
  const begun = await Promise.all(
    sandboxes.map((sandbox, seed) =>
      server.json<Process>("POST", `/sandboxes/${sandbox.id}/exec`, {
        command: "python3",
        args: ["-c", WRITER, String(seed)],
        background: true,
      }),
    ),
  );
  // the middle is reached when a quarter of the first one's bytes were read
  let read = 0;
  const first = await server.fetch("GET", `/sandboxes/${ids[0]}/processes/${begun[0]?.process_id}/output`);
  for await (const record of ndjson(first)) {
    if (record.type === "output") read += outputBytes(record).length;
    if (read >= TOTAL / 4) break;
  }
  await server.kill9();
  const started = performance.now();
  await server.up();
  console.log(`server back after ${Math.round(performance.now() - started)} ms`);

  await Promise.all(
    sandboxes.map(async (sandbox, seed) => {
      const now = await server.json<Sandbox>("GET", `/sandboxes/${sandbox.id}`);
      expect(now.state).toBe("running");
      const process = begun[seed];
      if (process === undefined) throw new Error("no process");
      const same = await server.json<Process>("GET", `/sandboxes/${sandbox.id}/processes/${process.process_id}`);
      expect(same.pid).toBe(process.pid);

      const hash = createHash("sha256");
      let at = 0;
      let exit: Extract<ExecRecord, { type: "exit" }> | undefined;
      const response = await server.fetch("GET", `/sandboxes/${sandbox.id}/processes/${process.process_id}/output?stdout_offset=0`);
      for await (const record of ndjson(response)) {
        if (record.type === "output" && record.stream === "stdout") {
          expect(record.offset).toBe(at);
          const bytes = outputBytes(record);
          at += bytes.length;
          hash.update(bytes);
        }
        expect(record.type).not.toBe("gap");
        if (record.type === "exit") exit = record;
      }
      expect(at).toBe(TOTAL);
      expect(hash.digest("hex")).toBe(expectedDigest(seed));
      expect(exit?.exit_code).toBe(seed % 50);
    }),
  );

  const alive = await tracesOf(server.dataDir, ids);
  expect(alive.filter((trace) => trace.startsWith("process ")).length).toBeGreaterThanOrEqual(SEEN_EACH * SANDBOXES);
  await Promise.all(sandboxes.map((sandbox) => server.json("DELETE", `/sandboxes/${sandbox.id}`)));
  const more = (await tracesOf(server.dataDir, ids)).filter((trace) => !trace.includes("caisson.mjs serve"));
  // what may stay is the memory of each sandbox's last epoch, so that a late call of an old owner is refused
  const memory = more.flatMap((trace) => /^path (worker\/records\/\w+\.json)$/.exec(trace)?.[1] ?? []);
  for (const path of memory) expect(JSON.parse(await readFile(join(server.dataDir, path), "utf8"))).toMatchObject({ kind: "ended" });
  expect(more.filter((trace) => !memory.includes(trace.slice("path ".length)))).toEqual([]);
});

it("an attached stream ends with a broken connection and continues at its offset", { timeout: 300_000 }, async () => {
  await using server = await TestServer.start();
  const sandbox = await server.json<Sandbox>("POST", "/sandboxes", {});
  const response = await server.fetch("POST", `/sandboxes/${sandbox.id}/exec`, {
    command: "python3",
    args: ["-c", WRITER, "7"],
    stream: true,
  });
  const hash = createHash("sha256");
  let at = 0;
  let processId = 0;
  let killed: Promise<void> | undefined;
  const last: string[] = [];
  try {
    for await (const record of ndjson(response)) {
      last.push(record.type);
      if (record.type === "start") processId = record.process_id;
      if (record.type !== "output") continue;
      expect(record.offset).toBe(at);
      const bytes = outputBytes(record);
      at += bytes.length;
      hash.update(bytes);
      if (at > TOTAL / 4) killed ??= server.kill9();
    }
  } catch {
    // the connection died with the server: what the reader has ends at `at`
  }
  expect(killed).toBeDefined();
  await killed;
  expect(last).not.toContain("exit");
  await server.up();
  let exits = 0;
  for await (const record of ndjson(
    await server.fetch("GET", `/sandboxes/${sandbox.id}/processes/${processId}/output?stdout_offset=${at}`),
  )) {
    if (record.type === "output" && record.stream === "stdout") {
      expect(record.offset).toBe(at);
      const bytes = outputBytes(record);
      at += bytes.length;
      hash.update(bytes);
    }
    if (record.type === "exit") exits += 1;
  }
  expect(exits).toBe(1);
  expect(at).toBe(TOTAL);
  expect(hash.digest("hex")).toBe(expectedDigest(7));
});
