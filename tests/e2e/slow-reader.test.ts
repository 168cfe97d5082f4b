import type { Process, Sandbox } from "@caisson/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OutputForm } from "../harness/output-connection.ts";
import { TestServer } from "../harness/server.ts";
import { readCutUp, startCounting, written } from "../harness/slow-reader.ts";

const MIB = 1_048_576;
/** What a process may be ahead of its reader. */
const LIMIT = 16 * MIB;

let server: TestServer;
let id: string;
beforeAll(async () => {
  server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
  id = (await server.json<Sandbox>("POST", "/sandboxes", {})).id;
});
afterAll(() => server[Symbol.asyncDispose]());

describe("a slow reader whose connection is cut", () => {
  it.each<[OutputForm, number]>([
    ["records", 200_000_000],
    ["bytes", 200_000_000],
  ])("gets every byte once, as %s, and nothing of ours grows", { timeout: 300_000 }, async (form, bytes) => {
    const running = await startCounting(server, id, bytes, { on_full: "block", output_limit: LIMIT });
    const { connections } = await readCutUp({
      server,
      running,
      bytes,
      form,
      cut: (progress) => progress.bytes >= 25_000_000,
      away: async (offset) => {
        // Nobody reads: the process writes on until its log is full, and stands still there.
        await written(server, running, offset + LIMIT - MIB);
        const { stdout } = await server.json<Process>("GET", running.path);
        expect(stdout.start).toBeLessThanOrEqual(offset);
        expect(stdout.end - stdout.start).toBeLessThanOrEqual(2 * LIMIT);
      },
    });
    expect(connections).toBeGreaterThanOrEqual(8);
  });
});
