import { CaissonError, newId, systemClock, systemRandom } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { ReconnectingOpener } from "@caisson/link";
import { VirtualClock } from "@caisson/testkit";
import { describe, expect, it } from "vitest";
import { providerConformance } from "../contract/conformance.ts";
import type { BoxSpec } from "../contract/provider.ts";
import { MockMachine } from "./mock-machine.ts";
import { MockProvider } from "./mock-provider.ts";

const log = (): void => undefined;

await providerConformance({
  name: "mock",
  make: async () => {
    const machine = new MockMachine(systemClock);
    const context = { clock: systemClock, log };
    return {
      provider: new MockProvider(machine, context),
      clock: systemClock,
      rootfs: { kind: "host", skeleton: "/" },
      restart: async () => new MockProvider(machine, context),
      leftovers: async () => [...machine.boxes.keys()],
      dispose: async () => undefined,
    };
  },
});

function spec(): BoxSpec {
  const sandboxId = newId("sandbox", 0, systemRandom);
  return { sandboxId, epoch: 1, rootfs: { kind: "host", skeleton: "/" }, resources: {}, env: {}, hostname: "m", network: "none" };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "no error",
    (error: unknown) => (error instanceof CaissonError ? error.code : String(error)),
  );
}

describe("faults of the mock", () => {
  const clock = new VirtualClock();
  const machine = new MockMachine(clock);
  const provider = new MockProvider(machine, { clock, log });

  it("delay and fail starts, leaving nothing", async () => {
    machine.faults.startDelayMs = 500;
    machine.faults.startError = new CaissonError("provider_failed", "on purpose");
    const failing = codeOf(provider.start(spec()));
    await clock.advance(499);
    expect(await provider.list()).toEqual([]);
    await clock.advance(1);
    expect(await failing).toBe("provider_failed");
    delete machine.faults.startError;
    const controller = new AbortController();
    const abandoned = codeOf(provider.start(spec(), controller.signal));
    await clock.advance(100);
    controller.abort(new CaissonError("cancelled", "given up"));
    expect(await abandoned).toBe("cancelled");
    expect([await provider.list(), clock.pending]).toEqual([[], 0]);
    delete machine.faults.startDelayMs;
  });

  it("break and silence connections of one box, and crash it", async () => {
    const [one, two] = [await provider.start(spec()), await provider.start(spec())];
    machine.faultsOf.set(one.sandboxId, { connectError: new CaissonError("agent_unreachable", "on purpose") });
    expect(await codeOf(provider.connect(one.handle))).toBe("agent_unreachable");
    const opener = new ReconnectingOpener({ connect: () => provider.connect(two.handle), clock });
    const guest = new GuestClient(opener, clock);
    expect((await guest.stats()).sessions).toBe(0);
    const running = await guest.exec({ command: "sleep 5" });
    machine.crash(two.sandboxId, "kernel panic");
    expect(await codeOf(running[Symbol.asyncIterator]().next())).toBe("agent_unreachable");
    expect(await provider.recover(two.handle)).toMatchObject({ status: "stopped", reason: "kernel panic" });
    expect(await codeOf(guest.stats())).toBe("agent_unreachable");
    machine.faultsOf.set(one.sandboxId, { agentSilent: true });
    const silent = new GuestClient(new ReconnectingOpener({ connect: () => provider.connect(one.handle), clock }), clock);
    const asked = codeOf(silent.stats({ deadlineMs: 200 }));
    await clock.advance(200);
    expect(await asked).toBe("deadline_exceeded");
    opener.close();
  });

  it("says clearly that it isolates nothing", async () => {
    const report = await provider.probe();
    expect([report.tier, report.reason]).toEqual(["none", expect.stringContaining("isolates nothing")]);
    expect(Object.values(report.limits ?? {}).length).toBe(4);
  });
});
