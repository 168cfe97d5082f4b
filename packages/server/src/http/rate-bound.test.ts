import { VirtualClock } from "@caisson/testkit";
import { expect, it } from "vitest";
import { RateBound } from "./rate-bound.ts";

const taken = (bound: RateBound, address: string, times: number): number => {
  let count = 0;
  for (let i = 0; i < times; i++) {
    try {
      bound.take(address);
      count++;
    } catch {
      // refused
    }
  }
  return count;
};

it("lets each address make a burst, and then so many a second", async () => {
  const clock = new VirtualClock();
  const bound = new RateBound({ burst: 5, perSecond: 2, peers: 100, clock });
  expect(taken(bound, "10.0.0.1", 20)).toBe(5);
  expect(taken(bound, "10.0.0.2", 20)).toBe(5);
  expect(() => bound.take("::ffff:10.0.0.1")).toThrow(/Too many/);
  await clock.advance(1500);
  expect(taken(bound, "10.0.0.1", 20)).toBe(3);
  await clock.advance(60_000);
  expect(taken(bound, "10.0.0.1", 20)).toBe(5);
  expect(() => bound.take("10.0.0.1")).toThrow(expect.objectContaining({ code: "resource_limit", retryAfter: 1 }));
});

it("counts a /64 of IPv6 as one", () => {
  const bound = new RateBound({ burst: 3, perSecond: 1, peers: 100, clock: new VirtualClock() });
  for (const address of ["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:0db8::3"]) bound.take(address);
  expect(() => bound.take("2001:db8::4")).toThrow(/Too many/);
  bound.take("2001:db8:0:1::1");
  bound.take("::1");
});

it("remembers no more peers than it may", () => {
  const bound = new RateBound({ burst: 1, perSecond: 1, peers: 2, clock: new VirtualClock() });
  for (const address of ["a", "b", "c"]) bound.take(address);
  bound.take("a");
  expect(() => bound.take("c")).toThrow(/Too many/);
});
