import type { Process } from "@caisson/contract";
import { expect } from "vitest";
import { CountedDigest, countingCommand, countingSha256 } from "./counting.ts";
import { openOutput, type OutputForm } from "./output-connection.ts";
import { ResidentMemory } from "./resident-memory.ts";
import type { ApiAccess } from "./api-access.ts";
import type { TestServer } from "./server.ts";

/** Bytes between two looks at the memory. */
const LOOK_EVERY = 8_388_608;
/** Most that one of our processes may grow by, in MiB. */
const GROWTH_MIB = 64;

/** A process of a sandbox, by its path in the API. */
export interface Running {
  readonly path: string;
  readonly sandboxId: string;
}

/** Starts a process that counts, once it gets a line, whose output waits for its readers or is dropped. */
export async function startCounting(
  server: ApiAccess,
  sandboxId: string,
  bytes: number,
  more: { readonly on_full: "block" | "drop"; readonly output_limit: number },
): Promise<Running> {
  const body = { command: `read _; ${countingCommand(bytes)}`, background: true, stdin_open: true, timeout: "0", ...more };
  const { process_id: id } = await server.json<Process>("POST", `/sandboxes/${sandboxId}/exec`, body);
  return { path: `/sandboxes/${sandboxId}/processes/${id}`, sandboxId };
}

/** Lets a process begin to count. */
export async function letCount(server: ApiAccess, { path }: Running): Promise<void> {
  const headers = { "x-api-key": server.apiKey, "content-type": "application/octet-stream" };
  const answer = await fetch(`${server.url}/api/v1${path}/stdin`, { method: "POST", body: "go\n", headers });
  expect(answer.status).toBe(200);
}

/** What a reader's connection has brought so far. */
export interface Progress {
  /** Bytes since it was opened. */
  readonly bytes: number;
  /** Monotonic time since it was opened, in ms. */
  readonly ms: number;
}

/** How a reader that loses its connection behaves. */
export interface SlowReading {
  readonly server: TestServer;
  readonly running: Running;
  readonly bytes: number;
  readonly form: OutputForm;
  /** Whether to cut the connection now. */
  readonly cut: (progress: Progress) => boolean;
  /** What happens while there is no connection; gets the offset reached. */
  readonly away: (offset: number) => Promise<void>;
  /** Waits after a piece, for a reader that is slow by the clock. */
  readonly pace?: (progress: Progress) => Promise<void> | undefined;
}

/**
 * Reads the whole of a counting process over connections that are cut, each going on where the one before ended. Holds that
 * no byte is lost, doubled or changed, that the end is told once, and that none of our processes grows.
 */
export async function readCutUp(reading: SlowReading): Promise<{ readonly connections: number; readonly growthMib: number }> {
  const { server, running, bytes, form, cut, away, pace } = reading;
  const memory = await ResidentMemory.of(server, [running.sandboxId]);
  const digest = new CountedDigest();
  let connections = 0;
  let ends = 0;
  let looked = 0;
  await letCount(server, running);
  while (ends === 0) {
    connections += 1;
    const begun = { at: performance.now(), offset: digest.next };
    for await (const said of await openOutput(server, running.path, { offset: digest.next, form })) {
      if (said.type === "gap") throw new Error(`bytes ${said.from} to ${said.to} were lost`);
      if (said.type === "end") {
        ends += 1;
        continue;
      }
      digest.add(said.offset, said.bytes);
      if (digest.next - looked >= LOOK_EVERY) {
        looked = digest.next;
        memory.sample();
      }
      const progress = { bytes: digest.next - begun.offset, ms: performance.now() - begun.at };
      if (cut(progress)) break;
      await pace?.(progress);
    }
    if (ends === 0) await away(digest.next);
  }
  expect(ends).toBe(1);
  expect(digest.next).toBe(bytes);
  expect(digest.hex()).toBe(countingSha256(bytes));
  const ended = await server.json<Process>("GET", running.path);
  expect(ended).toMatchObject({ running: false, exit: { exit_code: 0 }, stdout: { end: bytes } });
  expect(memory.growthMib).toBeLessThan(GROWTH_MIB);
  return { connections, growthMib: memory.growthMib };
}

/** Resolves when a process has written as far as this, or has ended. */
export async function written(server: ApiAccess, { path }: Running, offset: number): Promise<void> {
  await expect
    .poll(
      async () => {
        const { running, stdout } = await server.json<Process>("GET", path);
        return !running || stdout.end >= offset;
      },
      { timeout: 120_000, interval: 20 },
    )
    .toBe(true);
}
