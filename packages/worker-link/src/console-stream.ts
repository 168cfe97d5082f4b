import { CaissonError, type Channel, type ConsoleChunk } from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";
import { consoleEndSchema, readReply } from "./worker-replies.ts";

/** Most bytes of a console that are taken at once. */
const MAX_BYTES = 8_388_608;

/** Answers a call with lines: they come as data, each with its line break, then one event `console_end`. */
export async function sendConsole(call: IncomingCall, { lines, end, truncated }: ConsoleChunk): Promise<void> {
  call.reply({});
  // Awaited, so that a slow reader holds back what reads the console next.
  if (lines.length > 0) await call.write(Buffer.from(`${lines.join("\n")}\n`));
  await call.sendEvent({ type: "console_end", lines: lines.length, end, truncated }, { fin: true });
}

/** The lines that answer a call. */
export async function readConsole(method: string, channel: Channel): Promise<ConsoleChunk> {
  await channel.reply;
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  let chunk: ConsoleChunk | undefined;
  for await (const frame of channel) {
    if (frame.kind === "data") {
      bytes += frame.bytes.length;
      if (bytes > MAX_BYTES) throw new CaissonError("protocol_error", `The answer to ${method} has more than ${MAX_BYTES} bytes.`);
      pieces.push(frame.bytes);
    } else if (frame.event["type"] === "console_end") {
      const { lines: count, end, truncated } = readReply(method, consoleEndSchema, frame.event);
      const text = Buffer.concat(pieces);
      // Counted before it is cut: millions of empty lines are little on the wire and much as strings.
      const breaks = countBreaks(text);
      if (breaks !== count) throw new CaissonError("protocol_error", `The answer to ${method} has ${breaks} lines, not ${count}.`);
      chunk = { lines: text.toString("utf8").split("\n").slice(0, -1), end, truncated };
    }
  }
  if (chunk === undefined) throw new CaissonError("protocol_error", `The answer to ${method} has no end.`);
  return chunk;
}

function countBreaks(text: Uint8Array): number {
  let breaks = 0;
  for (let at = text.indexOf(0x0a); at >= 0; at = text.indexOf(0x0a, at + 1)) breaks += 1;
  return breaks;
}
