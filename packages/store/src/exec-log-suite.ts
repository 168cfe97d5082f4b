import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ProcessExit, StartedProcess } from "./exec-log-repository.ts";
import { DEFAULT_RETENTION } from "./retention.ts";
import type { StoreDescriptor } from "./store-suite.ts";
import type { Store } from "./store.ts";
import { reserveRequest, STOPPED } from "./testing/reserve-request.ts";

const START = Date.UTC(2030, 0, 1);

const EXIT: ProcessExit = { exitCode: 3, signal: null, timedOut: false, durationMs: 5.5, stdoutBytes: 1, stderrBytes: 2 };

function process(sandboxId: string, processId: number): StartedProcess {
  const given = { kind: "exec", command: "ls", args: ["-l"], cut: false, user: null, workdir: "/" } as const;
  return { sandboxId, processId, ...given, startedAt: START, keyName: "api", requestId: `r${processId}` };
}

/** What the log of processes promises, on one database. */
export function describeExecLog(descriptor: StoreDescriptor): void {
  describe(`exec log on ${descriptor.name}`, () => {
    let store: Store;
    let now = START;

    beforeEach(async () => {
      now = START;
      store = await descriptor.open({ now: () => now });
    });
    afterEach(async () => {
      await store.close();
      await descriptor.remove();
    });

    it("logs processes once, with their events, whatever is written again", async () => {
      await store.sandboxes.reserve(reserveRequest("sb1"));
      const one = process("sb1", 1);
      await store.execLog.write([one, process("sb1", 2)], []);
      await store.execLog.write([one], [{ sandboxId: "sb1", processId: 1, endedAt: START - 5, exit: EXIT }]);
      await store.execLog.write([], [{ sandboxId: "sb1", processId: 1, endedAt: START + 9, exit: null }]);
      await store.execLog.write([], [{ sandboxId: "sb1", processId: 7, endedAt: START, exit: EXIT }]);
      expect((await store.execLog.page("sb1", 10)).items).toEqual([
        { ...process("sb1", 2), endedAt: null, exit: null },
        { ...one, endedAt: START, exit: EXIT },
      ]);
      expect((await store.execLog.running()).map((running) => running.processId)).toEqual([2]);
      expect([...(await store.execLog.known("sb1", [1, 2, 3]))]).toEqual([1, 2]);
      expect(await store.events.after(1, 10)).toMatchObject([
        { type: "process.started", resource_id: "1", sandbox_id: "sb1", data: { kind: "exec" } },
        { type: "process.started", resource_id: "2" },
        { type: "process.exited", resource_id: "1", data: { exit_code: 3, signal: null, timed_out: false, duration_ms: 5.5 } },
      ]);
    });

    it("learns later who started a process that was found, and once it knows that stays", async () => {
      await store.sandboxes.reserve(reserveRequest("sb1"));
      const known = process("sb1", 1);
      await store.execLog.write([{ ...known, kind: "unknown", keyName: null, requestId: null }], []);
      await store.execLog.write([known], []);
      await store.execLog.write([{ ...known, keyName: "another" }], []);
      await store.execLog.write([{ ...known, kind: "unknown", keyName: null, requestId: null }], []);
      expect((await store.execLog.page("sb1", 10)).items).toMatchObject([{ kind: "exec", keyName: "api", requestId: "r1" }]);
    });

    it("ends processes with their sandbox, also those that are written late", async () => {
      await store.sandboxes.reserve(reserveRequest("sb1"));
      await store.execLog.write([process("sb1", 1)], []);
      await store.sandboxes.apply("sb1", 1, STOPPED);
      await store.execLog.write([process("sb1", 2)], []);
      expect(await store.execLog.running()).toEqual([]);
      expect((await store.execLog.page("sb1", 10)).items).toMatchObject([
        { processId: 2, endedAt: START },
        { processId: 1, exit: null },
      ]);
      expect((await store.events.after(1, 10)).map((event) => event.type)).toEqual([
        "process.started",
        "process.exited",
        "sandbox.stopped",
        "process.started",
        "process.exited",
      ]);
    });

    it("pages through the log, and forgets what is old or too much", async () => {
      await store.sandboxes.reserve(reserveRequest("sb1"));
      const ids = Array.from({ length: 7 }, (_, i) => i + 1);
      await store.execLog.write(
        ids.map((id) => process("sb1", id)),
        ids.filter((id) => id !== 1).map((id) => ({ sandboxId: "sb1", processId: id, endedAt: START + id, exit: EXIT })),
      );
      const first = await store.execLog.page("sb1", 3);
      const second = await store.execLog.page("sb1", 10, first.nextCursor ?? undefined);
      expect([...first.items, ...second.items].map((one) => one.processId)).toEqual(ids.toReversed());
      expect(second.nextCursor).toBeNull();
      await expect(store.execLog.page("sb1", 3, "x")).rejects.toMatchObject({ code: "invalid_request" });
      expect(await store.purge({ ...DEFAULT_RETENTION, execLogCount: 4 })).toMatchObject({ processes: 2 });
      // The first still runs.
      expect((await store.execLog.page("sb1", 10)).items.map((one) => one.processId)).toEqual([7, 6, 5, 4, 1]);
      now = START + 6 + DEFAULT_RETENTION.execLogMs;
      expect(await store.purge()).toMatchObject({ processes: 2 });
      expect((await store.execLog.page("sb1", 10)).items.map((one) => one.processId)).toEqual([7, 6, 1]);
    });
  });
}
