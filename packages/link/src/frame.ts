import { CaissonError } from "@caisson/contract";

/** Kinds of frames (docs/protocol.md). */
export const KIND = { hello: 1, open: 2, reply: 3, event: 4, data: 5, credit: 6, end: 7, ping: 8 } as const;

/** This side sends no more on the channel. */
export const FLAG_FIN = 0x80;
/** On reply: the call failed. On end: the channel is aborted. */
export const FLAG_ERROR = 0x40;
/** On ping: this is the answer. */
export const FLAG_PONG = 0x01;

export const HEADER_BYTES = 10;
/** Largest payload of a data frame. */
export const MAX_DATA_BYTES = 1_048_576;
/** Largest payload of every other frame. */
export const MAX_CONTROL_BYTES = 262_144;
/** Credit of each direction of a channel at its start, in bytes. */
export const INITIAL_CREDIT = 262_144;
/** Credit beyond this is a protocol error. */
export const MAX_CREDIT = 2_147_483_648;
/** Most channels that one side may have open at once. */
export const MAX_CHANNELS = 1024;
/** Largest event we send: a receiver that grants at half a window always lets it pass in the end. */
export const MAX_EVENT_BYTES = 131_072;

/** The error of a broken rule; it ends the link. */
export function protocolError(message: string): CaissonError {
  return new CaissonError("protocol_error", message);
}

/** The flags that may stand on each kind. */
const ALLOWED_FLAGS: readonly number[] = [
  0,
  0, // hello
  FLAG_FIN, // open
  FLAG_FIN | FLAG_ERROR, // reply
  FLAG_FIN, // event
  FLAG_FIN | 0x03, // data
  0, // credit
  FLAG_ERROR, // end
  FLAG_PONG, // ping
];

/** Throws when a header breaks a rule that needs no knowledge of the channel. */
export function checkHeader(length: number, channel: number, kind: number, flags: number): void {
  const allowed = ALLOWED_FLAGS[kind];
  if (allowed === undefined || kind === 0) throw protocolError(`unknown frame kind ${kind}`);
  if ((flags & ~allowed) !== 0) throw protocolError(`flags 0x${flags.toString(16)} do not belong on a frame of kind ${kind}`);
  if (length > (kind === KIND.data ? MAX_DATA_BYTES : MAX_CONTROL_BYTES))
    throw protocolError(`frame of ${length} bytes exceeds the limit of its kind`);
  const onLink = kind === KIND.hello || kind === KIND.ping || (kind === KIND.end && channel === 0);
  if (onLink ? channel !== 0 : channel === 0) throw protocolError(`a frame of kind ${kind} does not belong on channel ${channel}`);
  switch (kind) {
    case KIND.reply:
      if (flags === FLAG_ERROR) throw protocolError("a failed reply must be the last frame");
      break;
    case KIND.data:
      if ((flags & 0x03) === 3) throw protocolError("there is no stream 3");
      break;
    case KIND.credit:
      if (length !== 4) throw protocolError("credit must be four bytes");
      break;
    case KIND.end:
      if ((flags & FLAG_ERROR) === 0 && (length !== 0 || channel === 0)) throw protocolError("an end without error has no payload");
      break;
    case KIND.ping:
      if (length !== 8) throw protocolError("a ping must be eight bytes");
      break;
  }
}

/** Writes a header at the start of `into`. */
export function writeHeader(into: Buffer, length: number, channel: number, kind: number, flags: number): void {
  into.writeUInt32BE(length, 0);
  into.writeUInt32BE(channel, 4);
  into[8] = kind;
  into[9] = flags;
}

/** One whole frame as bytes. */
export function encodeFrame(kind: number, channel: number, flags: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  writeHeader(frame, payload.length, channel, kind, flags);
  frame.set(payload, HEADER_BYTES);
  return frame;
}
