import { setTimeout as wait } from "node:timers/promises";
import type { Sandbox } from "@caisson/contract";
import { expect, it } from "vitest";
import type { OutputForm } from "../harness/output-connection.ts";
import { TestServer } from "../harness/server.ts";
import { readCutUp, startCounting } from "../harness/slow-reader.ts";

const BYTES = Number(process.env["CAISSON_SLOW_BYTES"] ?? 10_000_000_000);
/** The pace of the reader, in bytes per ms. */
const PACE = 64_000;

it.each<OutputForm>(["bytes", "records"])(
  `${BYTES} bytes to a slow reader whose connection is cut every second, as %s`,
  { timeout: 3_600_000 },
  async (form) => {
    await using server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
    const { id } = await server.json<Sandbox>("POST", "/sandboxes", { ttl: "2h" });
    const running = await startCounting(server, id, BYTES, { on_full: "block", output_limit: 67_108_864 });
    const begun = performance.now();
    const { connections, growthMib } = await readCutUp({
      server,
      running,
      bytes: BYTES,
      form,
      cut: (progress) => progress.ms >= 1000,
      away: () => Promise.resolve(),
      pace: (progress) => {
        const ahead = progress.bytes / PACE - progress.ms;
        return ahead < 1 ? undefined : wait(ahead);
      },
    });
    const seconds = (performance.now() - begun) / 1000;
    console.log(
      `${form}: ${seconds.toFixed(0)} s, ${(BYTES / seconds / 1e6).toFixed(0)} MB/s, ${connections} connections, growth ${growthMib.toFixed(1)} MiB`,
    );
    expect(connections).toBeGreaterThan(1);
  },
);
