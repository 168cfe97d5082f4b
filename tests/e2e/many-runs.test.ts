import type { ExecResult, Sandbox } from "@caisson/contract";
import { expect, it } from "vitest";
import { TestServer } from "../harness/server.ts";

const RUNS = Number(process.env.CAISSON_RUNS ?? 10_000);
const CONCURRENCY = 32;

it(`${RUNS} short commands at concurrency ${CONCURRENCY}: no byte lost, every exit right`, { timeout: 3_600_000 }, async () => {
  await using server = await TestServer.start({ CAISSON_LOGGING__LEVEL: "warn" });
  const sandboxes = await Promise.all(Array.from({ length: 4 }, () => server.json<Sandbox>("POST", "/sandboxes", {})));
  let next = 0;
  const wrong: string[] = [];
  const started = performance.now();
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async () => {
      for (let run = next++; run < RUNS; run = next++) {
        const sandbox = sandboxes[run % sandboxes.length];
        const answer = await server.json<ExecResult>("POST", `/sandboxes/${sandbox?.id}/exec`, {
          command: `echo out ${run}; echo err ${run} >&2; exit ${run % 256}`,
        });
        const good = answer.stdout === `out ${run}\n` && answer.stderr === `err ${run}\n` && answer.exit_code === run % 256;
        if (!good) wrong.push(`${run}: ${JSON.stringify(answer)}`);
      }
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  console.log(`${RUNS} runs in ${seconds.toFixed(1)} s: ${(RUNS / seconds).toFixed(0)} per second`);
  expect(wrong).toEqual([]);
});
