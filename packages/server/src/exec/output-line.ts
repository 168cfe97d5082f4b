import { isUtf8 } from "node:buffer";
import { pooledBytes } from "@caisson/contract";

/** Room that text may need when it is escaped, per byte; what needs more is shorter in base64. */
const MOST_GROWTH = 4 / 3;

/** 0 for bytes that stand for themselves in a JSON string; else the letter behind the backslash, `u` for four digits. */
const ESCAPES = new Uint8Array(256);
for (let byte = 0; byte < 32; byte += 1) ESCAPES[byte] = "u".charCodeAt(0);
for (const [byte, letter] of ["\bb", "\tt", "\nn", "\ff", "\rr", '""', "\\\\"].map((pair) => [pair.charCodeAt(0), pair.charCodeAt(1)]))
  ESCAPES[byte as number] = letter as number;

/** Most bytes looked at one by one before eight at a time are tried again. */
const STRETCH = 256;

const HEX = "0123456789abcdef";
const BACKSLASH = 0x5c;

/** Where text is escaped before its length is known; grows to the largest piece. */
let scratch = Buffer.allocUnsafeSlow(0);
let view = new DataView(scratch.buffer);

/**
 * The NDJSON line of an `output` record, newline included. Made byte by byte: to go through a string would cost several
 * times as much, and this is where all output passes. A long line is pooled: give it back when it was sent.
 */
export function outputLine(stream: "stdout" | "stderr", offset: number, bytes: Uint8Array): Buffer {
  const head = `{"type":"output","stream":"${stream}","offset":${offset},"data":"`;
  const escaped = isUtf8(bytes) ? escape(bytes) : -1;
  if (escaped >= 0) return line(head, '"}\n', escaped, (into, at) => scratch.copy(into, at, 0, escaped));
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
  return line(head, '","encoding":"base64"}\n', base64.length, (into, at) => into.write(base64, at, "latin1"));
}

function line(head: string, tail: string, length: number, fill: (into: Buffer, at: number) => void): Buffer {
  const { buffer, byteOffset, length: size } = pooledBytes(head.length + length + tail.length);
  const whole = Buffer.from(buffer, byteOffset, size);
  whole.write(head, 0, "latin1");
  fill(whole, head.length);
  whole.write(tail, head.length + length, "latin1");
  return whole;
}

/** Writes the escaped bytes to the scratch buffer; how many they are, or -1 when base64 is shorter. */
function escape(bytes: Uint8Array): number {
  const room = Math.ceil(bytes.length * MOST_GROWTH) + 12 * STRETCH;
  if (scratch.length < room + 8) {
    scratch = Buffer.allocUnsafeSlow(room + 8);
    view = new DataView(scratch.buffer, scratch.byteOffset, scratch.length);
  }
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const target = scratch;
  const into = view;
  const last = bytes.length - 8;
  let at = 0;
  let to = 0;
  let stretch = 8;
  while (at < bytes.length) {
    if (to + bytes.length - at > room - 6 * STRETCH) return -1;
    const before = at;
    // Eight bytes at a time while none of them needs an escape.
    while (at <= last) {
      const low = from.getInt32(at, true);
      const high = from.getInt32(at + 4, true);
      if (needsEscape(low) || needsEscape(high)) break;
      into.setInt32(to, low, true);
      into.setInt32(to + 4, high, true);
      at += 8;
      to += 8;
    }
    // Then one by one, longer where they come close to each other.
    stretch = at === before ? Math.min(stretch * 2, STRETCH) : 8;
    for (const end = Math.min(at + stretch, bytes.length); at < end; at += 1) {
      const byte = bytes[at] as number;
      const letter = ESCAPES[byte] as number;
      if (letter === 0) target[to++] = byte;
      else {
        target[to++] = BACKSLASH;
        target[to++] = letter;
        if (letter === 0x75) to += target.write(`00${HEX[byte >> 4]}${HEX[byte & 15]}`, to, "latin1");
      }
    }
  }
  return to;
}

/** Whether one of four bytes is a control character, a quote or a backslash. */
function needsEscape(word: number): boolean {
  const quote = word ^ 0x22222222;
  const backslash = word ^ 0x5c5c5c5c;
  const found = ((word - 0x20202020) & ~word) | ((quote - 0x01010101) & ~quote) | ((backslash - 0x01010101) & ~backslash);
  return (found & 0x80808080) !== 0;
}
