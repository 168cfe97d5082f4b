import { CaissonError, type ProcessesChanged } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { ProcessNews } from "./process-news.ts";

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

it("of one sandbox that cannot be asked about hold up none of the others", async () => {
  const clock = new VirtualClock();
  const told: [string, number | undefined][] = [];
  let stuck = true;
  const control = {
    processesChanged: async ({ sandbox_id: id, processes = [] }: ProcessesChanged) => {
      if (stuck && id === "sbstuck") throw new CaissonError("agent_unreachable", "Its agent does not answer.");
      for (const { process_id } of processes) told.push([id, process_id]);
    },
  };
  const news = new ProcessNews({ control, clock, logger: silent });
  const start = (sandboxId: string, processId: number): void =>
    news.of({ sandboxId, epoch: 1 }).started({
      sandboxId,
      processId,
      kind: "exec",
      command: "true",
      args: [],
      cut: false,
      user: null,
      workdir: null,
      startedAt: 0,
      keyName: null,
      requestId: null,
    });
  start("sbstuck", 1);
  start("sbone", 1);
  start("sbstuck", 2);
  start("sbtwo", 1);
  await clock.advance(10_000);
  expect(told).toEqual([
    ["sbone", 1],
    ["sbtwo", 1],
  ]);
  start("sbone", 2);
  await clock.advance(20_000);
  expect(told[2]).toEqual(["sbone", 2]);
  expect(news.waiting).toBe(2);
  stuck = false;
  await clock.advance(10_000);
  expect(told.slice(3)).toEqual([
    ["sbstuck", 1],
    ["sbstuck", 2],
  ]);
  await news.close();
});
