import type { CallOptions, Channel, ChannelOpener, ControlMethod, WorkerMethod } from "@caisson/contract";
import { z } from "zod";
import { readReply } from "./worker-replies.ts";

const nothing = z.object({});

/** The options of a call that only its caller bounds. */
export function callOptions(signal: AbortSignal | undefined): CallOptions {
  return signal === undefined ? {} : { signal };
}

/** A call whose reply is all there is; `input` is sent at the pace of the other side. */
export async function ask<T = object>(
  opener: ChannelOpener,
  method: WorkerMethod | ControlMethod,
  params: Readonly<Record<string, unknown>>,
  schema: z.ZodType<T> | undefined,
  options: AbortSignal | CallOptions | undefined,
  input?: AsyncIterable<Uint8Array>,
): Promise<T> {
  const given = options instanceof AbortSignal ? { signal: options } : (options ?? {});
  const channel = opener.open(method, params, input === undefined ? { ...given, noInput: true } : given);
  try {
    if (input !== undefined) await feed(channel, input);
    return readReply(method, (schema ?? nothing) as z.ZodType<T>, await channel.reply);
  } finally {
    // Does nothing when the answer was the last frame, as it should be.
    channel.cancel();
  }
}

/** Sends all of an input. When the other side answers before its end, the rest is not wanted: the reply tells why. */
async function feed(channel: Channel, input: AsyncIterable<Uint8Array>): Promise<void> {
  channel.reply.then(
    () => channel.cancel(),
    () => undefined,
  );
  for await (const bytes of input) {
    try {
      await channel.write(bytes);
    } catch {
      return; // the reply says why nothing more is taken
    }
  }
  channel.end();
}
