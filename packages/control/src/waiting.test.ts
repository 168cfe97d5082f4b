import { CaissonError } from "@caisson/contract";
import { VirtualClock } from "@caisson/testkit";
import { describe, expect, it, vi } from "vitest";
import { Loop } from "./loop.ts";
import { SingleFlight } from "./single-flight.ts";
import { SteadyClock } from "./steady-clock.ts";
import { withDeadline } from "./with-deadline.ts";

const never = (): Promise<never> => new Promise(() => undefined);
const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "it did not fail",
    (error: unknown) => error,
  );

describe("withDeadline", () => {
  it("gives the result and leaves no timer", async () => {
    const clock = new VirtualClock();
    expect(await withDeadline({ clock, ms: 10, what: "it" }, () => Promise.resolve(5))).toBe(5);
    expect(await failure(withDeadline({ clock, ms: 10, what: "it" }, () => Promise.reject(new Error("no"))))).toMatchObject({
      message: "no",
    });
    expect(clock.pending).toBe(0);
  });

  it("ends the wait for what ignores its signal, and tells it", async () => {
    const clock = new VirtualClock();
    let inner: AbortSignal | undefined;
    const ended = failure(
      withDeadline({ clock, ms: 10, what: "it" }, (signal) => {
        inner = signal;
        return never();
      }),
    );
    await clock.advance(9);
    expect(inner?.aborted).toBe(false);
    await clock.advance(1);
    expect(await ended).toMatchObject({ code: "deadline_exceeded" });
    expect(inner?.aborted).toBe(true);
  });

  it("ends with the reason of its caller's signal, also of one aborted before", async () => {
    const clock = new VirtualClock();
    const controller = new AbortController();
    const ended = failure(withDeadline({ clock, ms: 10, what: "it", signal: controller.signal }, never));
    const reason = new CaissonError("shutting_down", "x");
    controller.abort(reason);
    expect(await ended).toBe(reason);
    const run = vi.fn<() => Promise<never>>(never);
    expect(await failure(withDeadline({ clock, ms: 10, what: "it", signal: controller.signal }, run))).toBe(reason);
    expect(run).not.toHaveBeenCalled();
    expect(clock.pending).toBe(0);
  });
});

describe("Loop", () => {
  type Log = (fields: object, message: string) => void;
  const logger = { debug: vi.fn<Log>(), info: vi.fn<Log>(), warn: vi.fn<Log>(), error: vi.fn<Log>() };

  it("rests between rounds, comes sooner when nudged, and never runs two at once", async () => {
    const clock = new VirtualClock();
    const stop = new AbortController();
    const rounds: number[] = [];
    let hold: PromiseWithResolvers<void> | undefined;
    const loop = new Loop({
      name: "x",
      clock,
      logger,
      round: async () => {
        rounds.push(clock.monotonic());
        await hold?.promise;
        return 1_000;
      },
    });
    const ended = loop.run(stop.signal);
    await clock.advance(2_500);
    expect(rounds).toEqual([0, 1_000, 2_000]);
    loop.nudge();
    await clock.advance(0);
    expect(rounds).toEqual([0, 1_000, 2_000, 2_500]);
    loop.within(5_000); // planned sooner anyway
    loop.within(400);
    loop.within(600);
    await clock.advance(399);
    expect(rounds).toHaveLength(4);
    await clock.advance(1);
    expect(rounds).toEqual([0, 1_000, 2_000, 2_500, 2_900]);
    hold = Promise.withResolvers();
    await clock.advance(1_000);
    loop.nudge();
    loop.nudge();
    await clock.advance(5_000);
    expect(rounds).toHaveLength(6);
    hold.resolve();
    hold = undefined;
    await clock.advance(0);
    expect(rounds).toHaveLength(7);
    stop.abort();
    await ended;
    expect(clock.pending).toBe(0);
  });

  it("outlives a round that fails", async () => {
    const clock = new VirtualClock();
    const stop = new AbortController();
    const round = vi.fn<() => Promise<number>>().mockRejectedValueOnce(new Error("broken")).mockResolvedValue(60_000);
    const ended = new Loop({ name: "x", clock, logger, round }).run(stop.signal);
    await clock.advance(1_000);
    expect(round).toHaveBeenCalledTimes(2);
    expect(logger.error).toHaveBeenCalledWith(expect.objectContaining({ loop: "x", outcome: "internal" }), expect.any(String));
    stop.abort();
    await ended;
  });
});

describe("Loop that fails for long", () => {
  it("tells each reason when it is new, once a minute while it lasts, and its end", async () => {
    const clock = new VirtualClock();
    const told: unknown[] = [];
    const line = (level: string) => (fields: object, message: string) => void told.push([level, fields, message]);
    const silent = (): void => undefined;
    const reasons = { error: line("error"), info: line("info"), debug: silent, warn: silent };
    let reason: string | undefined = "database_unavailable";
    const round = (): Promise<number> => {
      if (reason === undefined) return Promise.resolve(3_600_000);
      return Promise.reject(reason === "internal" ? new Error("bug") : new CaissonError("database_unavailable", "It is away."));
    };
    const stop = new AbortController();
    const ended = new Loop({ name: "x", clock, logger: reasons, round }).run(stop.signal);
    await clock.advance(61_500);
    reason = "internal";
    await clock.advance(5_000);
    reason = undefined;
    await clock.advance(5_000);
    expect(told).toMatchObject([
      ["error", { outcome: "database_unavailable", failures: 1 }, "a round failed"],
      ["error", { outcome: "database_unavailable", failures: 61 }, "a round failed"],
      ["error", { outcome: "internal", failures: 1 }, "a round failed"],
      ["info", { loop: "x", failures: 5 }, "rounds succeed again"],
    ]);
    stop.abort();
    await ended;
  });
});

describe("SingleFlight", () => {
  it("runs work once per key at a time, also when it fails", async () => {
    const flights = new SingleFlight<number>();
    const held = Promise.withResolvers<number>();
    const work = vi.fn<() => Promise<number>>(() => held.promise);
    const both = [flights.run("a", work), flights.run("a", work)];
    const other = flights.run("b", () => Promise.resolve(2));
    held.reject(new Error("no"));
    expect(await Promise.allSettled(both)).toMatchObject([{ status: "rejected" }, { status: "rejected" }]);
    expect(await other).toBe(2);
    await flights.idle();
    expect(work).toHaveBeenCalledTimes(1);
    expect(await flights.run("a", () => Promise.resolve(3))).toBe(3);
  });
});

describe("SteadyClock", () => {
  it("does not jump with the wall clock until told to", async () => {
    let wall = 1_000_000;
    const virtual = new VirtualClock();
    const clock = new SteadyClock({
      now: () => wall + virtual.monotonic(),
      monotonic: () => virtual.monotonic(),
      sleep: (ms, signal) => virtual.sleep(ms, signal),
      schedule: (ms, run) => virtual.schedule(ms, run),
    });
    await virtual.advance(500);
    expect(clock.now()).toBe(1_000_500);
    wall += 3_600_000;
    expect(clock.now()).toBe(1_000_500);
    expect(clock.drift()).toBe(3_600_000);
    clock.adopt(clock.drift());
    expect(clock.now()).toBe(4_600_500);
    expect(clock.drift()).toBe(0);
  });
});
