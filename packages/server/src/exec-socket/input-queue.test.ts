import { expect, it } from "vitest";
import { InputQueue, type InputSink } from "./input-queue.ts";

/** A sink that takes when it is told to. */
class SlowSink implements InputSink {
  readonly taken: string[] = [];
  readonly #waiting: PromiseWithResolvers<void>[] = [];

  write(bytes: Uint8Array): Promise<void> {
    this.taken.push(Buffer.from(bytes).toString().slice(0, 10));
    return this.#wait();
  }

  close(): Promise<void> {
    this.taken.push("end");
    return this.#wait();
  }

  /** Takes what waits; or refuses it. */
  async next(refusal?: Error): Promise<void> {
    const waiting = this.#waiting.shift();
    if (refusal === undefined) waiting?.resolve();
    else waiting?.reject(refusal);
    for (let turn = 0; turn < 5; turn += 1) await Promise.resolve();
  }

  #wait(): Promise<void> {
    const waiting = Promise.withResolvers<void>();
    this.#waiting.push(waiting);
    return waiting.promise;
  }
}

function queueOn(sink: InputSink): { queue: InputQueue; told: unknown[] } {
  const told: unknown[] = [];
  const queue = new InputQueue(sink, { full: (full) => told.push(full), refused: (reason) => told.push(reason) });
  return { queue, told };
}

it("gives one at a time, in order, the end last, and drops what comes later", async () => {
  const sink = new SlowSink();
  const { queue, told } = queueOn(sink);
  for (const text of ["a", "", "b"]) queue.write(Buffer.from(text));
  queue.end();
  queue.end();
  queue.write(Buffer.from("late"));
  expect(sink.taken).toEqual(["a"]);
  await sink.next();
  expect(sink.taken).toEqual(["a", "b"]);
  await sink.next();
  expect(sink.taken).toEqual(["a", "b", "end"]);
  await sink.next();
  await queue.idle();
  expect(told).toEqual([]);
});

it("says when it is full and when it has room", async () => {
  const sink = new SlowSink();
  const { queue, told } = queueOn(sink);
  for (let i = 0; i < 3; i += 1) queue.write(Buffer.alloc(200_000, 97));
  expect(told).toEqual([true]);
  await sink.next();
  expect(told).toEqual([true]);
  await sink.next();
  expect(told).toEqual([true, false]);
});

it("counts messages without weight, too", () => {
  const { queue, told } = queueOn(new SlowSink());
  for (let i = 0; i < 5_000; i += 1) queue.write(Buffer.from("x"));
  expect(told).toEqual([true]);
});

it("drops everything once refused, and has room then", async () => {
  const sink = new SlowSink();
  const { queue, told } = queueOn(sink);
  queue.write(Buffer.alloc(300_000));
  queue.write(Buffer.from("never"));
  const refusal = new Error("no more");
  await sink.next(refusal);
  queue.write(Buffer.from("late"));
  queue.end();
  expect(told).toEqual([true, false, refusal]);
  expect(sink.taken).toHaveLength(1);
});

it("lets what comes later wait for something, and not what came before", async () => {
  const sink = new SlowSink();
  const { queue } = queueOn(sink);
  const done = Promise.withResolvers<void>();
  queue.write(Buffer.from("before"));
  queue.after(done.promise);
  queue.write(Buffer.from("behind"));
  await sink.next();
  expect(sink.taken).toEqual(["before"]);
  done.resolve();
  await sink.next();
  expect(sink.taken).toEqual(["before", "behind"]);
});
