import { expect, test } from "vitest";
import { feedInput } from "./feed-input.ts";

async function* sequence(...steps: readonly (string | Promise<void>)[]): AsyncGenerator<Uint8Array> {
  for (const step of steps) {
    if (typeof step === "string") yield Buffer.from(step);
    else await step;
  }
}

/** Keeps what each request carried. */
function recorder(): { readonly requests: string[]; readonly send: (bytes: AsyncIterable<Uint8Array>) => Promise<void> } {
  const requests: string[] = [];
  const send = async (bytes: AsyncIterable<Uint8Array>): Promise<void> => {
    const index = requests.push("") - 1;
    for await (const piece of bytes) requests[index] += Buffer.from(piece).toString();
  };
  return { requests, send };
}

test("input that flows goes in one request", async () => {
  const { requests, send } = recorder();
  await feedInput(sequence("a", "b", "c"), send, new AbortController().signal);
  expect(requests).toEqual(["abc"]);
});

test("a pause ends the request; what comes later goes in another", async () => {
  const { requests, send } = recorder();
  const { promise, resolve } = Promise.withResolvers<void>();
  const feeding = feedInput(sequence("a", promise, "b"), send, new AbortController().signal, 10);
  setTimeout(resolve, 60);
  await feeding;
  expect(requests).toEqual(["a", "b"]);
});

test("no input is no request", async () => {
  const { requests, send } = recorder();
  await feedInput(sequence(), send, new AbortController().signal);
  expect(requests).toEqual([]);
});

test("ends at once when aborted, although the input waits", async () => {
  const abort = new AbortController();
  const { requests, send } = recorder();
  const feeding = feedInput(sequence(new Promise<void>(() => undefined)), send, abort.signal);
  abort.abort();
  await feeding;
  expect(requests).toEqual([]);
});
