import { protocolError } from "./frame.ts";

/** A value of the MessagePack subset. Integers outside the safe range are bigint. */
export type WireValue = null | boolean | number | bigint | string | Uint8Array | readonly WireValue[] | WireMap;
/** A map of the subset: string keys only. */
export interface WireMap {
  readonly [key: string]: WireValue;
}

/** Deepest nesting, counting the outermost value. */
export const MAX_DEPTH = 16;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Reads exactly one map; throws `protocol_error` for anything outside the subset. */
export function decodeMap(bytes: Buffer): WireMap {
  const reader = new Reader(bytes);
  const value = reader.value(1);
  if (!reader.done) throw protocolError("bytes follow the MessagePack value");
  if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Uint8Array)
    throw protocolError("the payload is not a map");
  return value as WireMap;
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  value(depth: number): WireValue {
    if (depth > MAX_DEPTH) throw protocolError("MessagePack is nested too deeply");
    const tag = this.#bytes[this.#take(1)] as number;
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.#map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.#array(tag & 0x0f, depth);
    if (tag < 0xc0) return this.#string(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    const b = this.#bytes;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(b.readUInt8(this.#take(1)));
      case 0xc5:
        return this.#binary(b.readUInt16BE(this.#take(2)));
      case 0xc6:
        return this.#binary(b.readUInt32BE(this.#take(4)));
      case 0xcb:
        return b.readDoubleBE(this.#take(8));
      case 0xcc:
        return b.readUInt8(this.#take(1));
      case 0xcd:
        return b.readUInt16BE(this.#take(2));
      case 0xce:
        return b.readUInt32BE(this.#take(4));
      case 0xcf:
        return narrow(b.readBigUInt64BE(this.#take(8)));
      case 0xd0:
        return b.readInt8(this.#take(1));
      case 0xd1:
        return b.readInt16BE(this.#take(2));
      case 0xd2:
        return b.readInt32BE(this.#take(4));
      case 0xd3:
        return narrow(b.readBigInt64BE(this.#take(8)));
      case 0xd9:
        return this.#string(b.readUInt8(this.#take(1)));
      case 0xda:
        return this.#string(b.readUInt16BE(this.#take(2)));
      case 0xdb:
        return this.#string(b.readUInt32BE(this.#take(4)));
      case 0xdc:
        return this.#array(b.readUInt16BE(this.#take(2)), depth);
      case 0xdd:
        return this.#array(b.readUInt32BE(this.#take(4)), depth);
      case 0xde:
        return this.#map(b.readUInt16BE(this.#take(2)), depth);
      case 0xdf:
        return this.#map(b.readUInt32BE(this.#take(4)), depth);
      default:
        throw protocolError(`MessagePack type 0x${tag.toString(16)} is refused`);
    }
  }

  /** Claims bytes that must be there, so no length can announce more than came. */
  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw protocolError("the MessagePack value is cut off");
    this.#at = at + count;
    return at;
  }

  #binary(length: number): Uint8Array {
    const at = this.#take(length);
    return new Uint8Array(this.#bytes.subarray(at, at + length));
  }

  #string(length: number): string {
    const at = this.#take(length);
    const end = at + length;
    if (length < 24) {
      let text = "";
      let i = at;
      for (; i < end; i++) {
        const byte = this.#bytes[i] as number;
        if (byte >= 0x80) break;
        text += String.fromCharCode(byte);
      }
      if (i === end) return text;
    }
    try {
      return utf8.decode(this.#bytes.subarray(at, end));
    } catch (cause) {
      throw Object.assign(protocolError("a MessagePack string is not UTF-8"), { cause });
    }
  }

  #array(length: number, depth: number): WireValue[] {
    if (length > this.#bytes.length - this.#at) throw protocolError("the MessagePack value is cut off");
    const items: WireValue[] = [];
    for (let i = 0; i < length; i++) items.push(this.value(depth + 1));
    return items;
  }

  #map(length: number, depth: number): WireMap {
    if (length * 2 > this.#bytes.length - this.#at) throw protocolError("the MessagePack value is cut off");
    const map: Record<string, WireValue> = {};
    for (let i = 0; i < length; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== "string") throw protocolError("a MessagePack key is not a string");
      if (Object.hasOwn(map, key)) throw protocolError("a MessagePack key comes twice");
      const value = this.value(depth + 1);
      // An ordinary assignment to this name would set the prototype.
      if (key === "__proto__") Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true });
      else map[key] = value;
    }
    return map;
  }
}

function narrow(value: bigint): number | bigint {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}
