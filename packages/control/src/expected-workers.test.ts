import type { SandboxHost } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { ExpectedWorkers } from "./expected-workers.ts";
import { ConnectedHosts } from "./hosts.ts";

const host = (workerId: string): SandboxHost => ({ workerId }) as SandboxHost;

function world(): {
  clock: VirtualClock;
  hosts: ConnectedHosts;
  expected: ExpectedWorkers;
  waits: (what: Promise<unknown>) => Promise<number>;
} {
  const clock = new VirtualClock();
  const hosts = new ConnectedHosts();
  const expected = new ExpectedWorkers({ clock, hosts });
  /** How long something takes that only time and what is under way can end. */
  const waits = async (what: Promise<unknown>): Promise<number> => {
    const begun = clock.monotonic();
    let over: number | undefined;
    void what.then(() => (over = clock.monotonic() - begun));
    await clock.advance(0);
    while (over === undefined) await clock.advance(10);
    return over;
  };
  return { clock, hosts, expected, waits };
}

it("waits for a worker when the control plane has just started, and no longer than a moment", async () => {
  const { clock, hosts, expected, waits } = world();
  expect(await waits(expected.one("a"))).toBe(3_000);
  const coming = waits(expected.one("a"));
  clock.schedule(500, () => hosts.add(host("b")));
  clock.schedule(1_000, () => hosts.add(host("a")));
  expect(await coming).toBe(1_000);
  expect(await waits(expected.one("a"))).toBe(0);
});

it("waits for one that has lost its link, and for none that is away for long", async () => {
  const { clock, hosts, expected, waits } = world();
  const remove = hosts.add(host("a"));
  await clock.advance(60_000);
  expect(await waits(expected.one("other"))).toBe(0);
  remove();
  expect(await waits(expected.one("a"))).toBe(3_000);
  await clock.advance(7_000);
  expect(await waits(expected.one("a"))).toBe(0);
  expect(await expected.arrivals()()).toBe(false);
});

it("tells whether any came", async () => {
  const { clock, hosts, expected, waits } = world();
  const none = expected.arrivals()();
  expect(await waits(none)).toBe(3_000);
  expect(await none).toBe(false);
  const one = expected.arrivals()();
  clock.schedule(100, () => hosts.add(host("b")));
  expect(await waits(one)).toBe(100);
  expect(await one).toBe(true);
});

it("waits no longer than it expects any, though they come and go all the time", async () => {
  const { clock, hosts, expected, waits } = world();
  await clock.advance(60_000);
  const flap = (): void => {
    hosts.add(host("b"))();
    clock.schedule(1_000, flap);
  };
  flap();
  const another = expected.arrivals();
  const all = async (): Promise<number> => {
    let came = 0;
    while (await another()) came += 1;
    return came;
  };
  const came = all();
  expect(await waits(came)).toBe(10_000);
  expect(await came).toBe(10);
});
