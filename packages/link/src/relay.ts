import { toCaissonError, type Channel, type ChannelFrame } from "@caisson/contract";
import type { IncomingCall } from "./incoming-call.ts";

/** What is passed on, nobody looks at here. */
const PASSED_ON = { recycle: true } as const;

/**
 * Forwards a call over another opener's channel: reply, bytes and events untouched, each hop's consumption giving credit to
 * the one before, so nothing is buffered beyond a window. Resolves when both are closed; never rejects.
 */
export async function relay(incoming: IncomingCall, outgoing: Channel): Promise<void> {
  const gone = (): void => outgoing.cancel();
  incoming.signal.addEventListener("abort", gone, { once: true });
  if (incoming.signal.aborted) gone();
  void up(incoming, outgoing).catch(() => outgoing.cancel());
  try {
    incoming.reply(await outgoing.reply);
    for await (const frame of outgoing) await pass(incoming, frame);
    incoming.end();
  } catch (error) {
    incoming.fail(toCaissonError(error));
  } finally {
    incoming.signal.removeEventListener("abort", gone);
  }
  await incoming.closed;
  outgoing.cancel();
  await outgoing.closed;
}

async function up(incoming: IncomingCall, outgoing: Channel): Promise<void> {
  for await (const frame of incoming) if (frame.kind === "data") await outgoing.write(frame.bytes, frame.stream, PASSED_ON);
  outgoing.end();
}

function pass(incoming: IncomingCall, frame: ChannelFrame): Promise<void> {
  return frame.kind === "data" ? incoming.write(frame.bytes, frame.stream, PASSED_ON) : incoming.sendEvent(frame.event);
}
