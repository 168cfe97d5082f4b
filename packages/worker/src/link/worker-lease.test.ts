import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { WorkerLease } from "./worker-lease.ts";

function lease(): { clock: VirtualClock; held: WorkerLease; lapses: number[] } {
  const clock = new VirtualClock();
  const lapses: number[] = [];
  const held = new WorkerLease(clock, 90_000, () => lapses.push(clock.monotonic()));
  return { clock, held, lapses };
}

it("begins lapsed, is held from the first answer on, and lapses by itself", async () => {
  const { clock, held, lapses } = lease();
  const begun = clock.monotonic();
  expect(held.held).toBe(false);
  await clock.advance(1_000);
  // It counts from when it was asked for, not from when the answer came.
  held.renew(begun, 30_000);
  expect(held.held).toBe(true);
  await clock.advance(28_999);
  expect([held.held, lapses]).toEqual([true, []]);
  await clock.advance(1);
  expect([held.held, lapses]).toEqual([false, [begun + 30_000]]);
});

it("is renewed by the later of two answers, whichever comes last", async () => {
  const { clock, held, lapses } = lease();
  const begun = clock.monotonic();
  held.renew(begun, 30_000);
  await clock.advance(10_000);
  held.renew(clock.monotonic(), 30_000);
  held.renew(begun + 1, 30_000);
  await clock.advance(29_999);
  expect([held.held, lapses]).toEqual([true, []]);
});

it("tells that nobody was ever heard, after the time of grace", async () => {
  const { clock, lapses } = lease();
  await clock.advance(90_000);
  expect(lapses).toHaveLength(1);
});

it("lets a call that is quicker than the first answer wait for it, and no longer than a moment", async () => {
  const { clock, held } = lease();
  const early = held.holds();
  held.renew(clock.monotonic(), 30_000);
  expect(await early).toBe(true);
  await clock.advance(30_000);
  const late = held.holds();
  await clock.advance(2_000);
  expect(await late).toBe(false);
});
