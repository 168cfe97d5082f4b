import { CaissonError } from "@caisson/contract";
import { MAX_DEPTH } from "./messagepack-decode.ts";

let scratch = Buffer.allocUnsafe(4096);
let at = 0;

/**
 * A map of the MessagePack subset after `reserve` unused bytes (for a frame header). Fields that are undefined are left
 * out. Throws `invalid_argument` for a value outside the subset or a map of more than `limit` bytes.
 */
export function encodeMap(map: Readonly<Record<string, unknown>>, reserve: number, limit: number): Buffer {
  at = reserve;
  room(0);
  value(map, 1);
  if (at - reserve > limit) throw new CaissonError("invalid_argument", `The message has ${at - reserve} bytes; ${limit} are allowed.`);
  const out = Buffer.allocUnsafe(at);
  scratch.copy(out, reserve, reserve, at);
  // One huge message must not pin its size for the life of the process.
  if (scratch.length > 1_048_576) scratch = Buffer.allocUnsafe(4096);
  return out;
}

function room(count: number): number {
  const from = at;
  at += count;
  if (at > scratch.length) {
    const grown = Buffer.allocUnsafe(Math.max(at, scratch.length * 2));
    scratch.copy(grown, 0, 0, from);
    scratch = grown;
  }
  return from;
}

function byte(tag: number): void {
  // The buffer may be replaced by a larger one, so the place comes first.
  const offset = room(1);
  scratch[offset] = tag;
}

function refuse(what: string): never {
  throw new CaissonError("invalid_argument", `${what} cannot be sent over the link.`);
}

function value(item: unknown, depth: number): void {
  if (depth > MAX_DEPTH) refuse("A value nested more than 16 deep");
  switch (typeof item) {
    case "string":
      return string(item);
    case "number":
      return number(item);
    case "boolean":
      return byte(item ? 0xc3 : 0xc2);
    case "bigint":
      return bigint(item);
    case "object":
      if (item === null) return byte(0xc0);
      if (item instanceof Uint8Array) return binary(item);
      if (Array.isArray(item)) return array(item, depth);
      return object(item as Record<string, unknown>, depth);
    default:
      refuse(`A value of type ${typeof item}`);
  }
}

function number(n: number): void {
  if (!Number.isSafeInteger(n) || Object.is(n, -0)) {
    byte(0xcb);
    const offset = room(8);
    scratch.writeDoubleBE(n, offset);
  } else if (n >= 0) {
    if (n < 0x80) byte(n);
    else if (n <= 0xff) sized8(0xcc, n);
    else if (n <= 0xffff) sized16(0xcd, n);
    else if (n <= 0xffff_ffff) sized32(0xce, n);
    else bigint(BigInt(n));
  } else if (n >= -32) byte(n + 0x100);
  else if (n >= -0x8000_0000) {
    byte(0xd2);
    const offset = room(4);
    scratch.writeInt32BE(n, offset);
  } else bigint(BigInt(n));
}

function bigint(n: bigint): void {
  if (n < -(2n ** 63n) || n >= 2n ** 64n) refuse("An integer of more than 64 bits");
  byte(n < 0n ? 0xd3 : 0xcf);
  const offset = room(8);
  if (n < 0n) scratch.writeBigInt64BE(n, offset);
  else scratch.writeBigUInt64BE(n, offset);
}

function string(text: string): void {
  const length = Buffer.byteLength(text);
  if (length < 32) byte(0xa0 | length);
  else if (length <= 0xff) sized8(0xd9, length);
  else if (length <= 0xffff) sized16(0xda, length);
  else sized32(0xdb, length);
  const offset = room(length);
  scratch.write(text, offset, length, "utf8");
}

function binary(bytes: Uint8Array): void {
  if (bytes.length <= 0xff) sized8(0xc4, bytes.length);
  else if (bytes.length <= 0xffff) sized16(0xc5, bytes.length);
  else sized32(0xc6, bytes.length);
  const offset = room(bytes.length);
  scratch.set(bytes, offset);
}

function array(items: readonly unknown[], depth: number): void {
  if (items.length < 16) byte(0x90 | items.length);
  else if (items.length <= 0xffff) sized16(0xdc, items.length);
  else sized32(0xdd, items.length);
  for (const item of items) value(item, depth + 1);
}

function object(map: Record<string, unknown>, depth: number): void {
  const prototype: unknown = Object.getPrototypeOf(map);
  if (prototype !== Object.prototype && prototype !== null) refuse("An object of a class");
  const keys = Object.keys(map);
  let count = 0;
  for (const key of keys) if (map[key] !== undefined) count++;
  if (count < 16) byte(0x80 | count);
  else if (count <= 0xffff) sized16(0xde, count);
  else sized32(0xdf, count);
  for (const key of keys) {
    const item = map[key];
    if (item === undefined) continue;
    string(key);
    value(item, depth + 1);
  }
}

function sized8(tag: number, n: number): void {
  const offset = room(2);
  scratch[offset] = tag;
  scratch[offset + 1] = n;
}

function sized16(tag: number, n: number): void {
  const offset = room(3);
  scratch[offset] = tag;
  scratch.writeUInt16BE(n, offset + 1);
}

function sized32(tag: number, n: number): void {
  const offset = room(5);
  scratch[offset] = tag;
  scratch.writeUInt32BE(n, offset + 1);
}
