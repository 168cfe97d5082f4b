import { CaissonError, toCaissonError, type Channel } from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";
import type { z } from "zod";
import { LISTED, readReply, type Listed } from "./worker-replies.ts";

/** Size of one event of a list, in bytes as JSON; the link takes events of 128 KiB. */
const BATCH_BYTES = 49_152;
/** Most items that are taken of one list: some 2 KiB each at most. */
const MAX_ITEMS = 20_000;

/** Answers a call with lists of any length: events `{type: NAME, items: […]}`, then the end. */
export async function sendLists(
  call: IncomingCall,
  lists: Partial<Record<Listed, readonly Readonly<Record<string, unknown>>[]>>,
): Promise<void> {
  call.reply({});
  for (const [type, items] of Object.entries(lists)) {
    let batch: Readonly<Record<string, unknown>>[] = [];
    let bytes = 0;
    for (const item of items) {
      batch.push(item);
      bytes += Buffer.byteLength(JSON.stringify(item));
      if (bytes < BATCH_BYTES) continue;
      await call.sendEvent({ type, items: batch });
      batch = [];
      bytes = 0;
    }
    if (batch.length > 0) await call.sendEvent({ type, items: batch });
  }
  call.end();
}

type Lists<N extends Listed> = { readonly [K in N]: z.output<(typeof LISTED)[K]>[] };

/**
 * The lists that answer a call. Events of other types are those of later versions, and let pass. `protocol_error` for an item that
 * does not fit, unless `misfit` takes it.
 */
export async function readLists<N extends Listed>(
  method: string,
  channel: Channel,
  names: readonly N[],
  misfit: (item: unknown, error: CaissonError) => void = (_, error) => {
    throw error;
  },
): Promise<Lists<N>> {
  await channel.reply;
  const counts = new Map<N, number>();
  const lists = Object.fromEntries(names.map((name) => [name, [] as unknown[]])) as unknown as Record<N, unknown[]>;
  for await (const frame of channel) {
    if (frame.kind === "data") throw new CaissonError("protocol_error", `The answer to ${method} has bytes in it.`);
    const { type, items } = frame.event;
    const name = names.find((one) => one === type);
    if (name === undefined) continue;
    if (!Array.isArray(items)) throw new CaissonError("protocol_error", `The answer to ${method} has an event without items.`);
    const count = (counts.get(name) ?? 0) + items.length;
    if (count > MAX_ITEMS) throw new CaissonError("protocol_error", `The answer to ${method} has more than ${MAX_ITEMS} items.`);
    counts.set(name, count);
    for (const item of items) {
      try {
        lists[name].push(readReply(method, LISTED[name] as z.ZodType, item));
      } catch (error) {
        misfit(item, toCaissonError(error));
      }
    }
  }
  return lists as unknown as Lists<N>;
}
