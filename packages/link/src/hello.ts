import { protocolError } from "./frame.ts";
import { decodeMap } from "./messagepack-decode.ts";

/** Protocol versions this build speaks: lowest and highest. */
export const PROTOCOL_RANGE: readonly [number, number] = [1, 1];

/** What a side says of itself. */
export interface Hello {
  /** Lowest and highest version spoken. */
  readonly protocol: readonly [number, number];
  readonly build: string;
  readonly features: readonly string[];
}

/** What both sides agreed on, and who the other is. */
export interface Peer extends Hello {
  /** Highest version that both speak. */
  readonly version: number;
}

/** Reads the other side's hello and picks the version. Fields of later versions are ignored. */
export function agree(own: readonly [number, number], payload: Buffer): Peer {
  const { protocol, build, features } = decodeMap(payload);
  if (!Array.isArray(protocol) || protocol.length !== 2) throw protocolError("hello names no protocol range");
  const [min, max] = protocol as readonly unknown[];
  if (!isVersion(min) || !isVersion(max) || min > max) throw protocolError("hello names no protocol range");
  if (typeof build !== "string" || build.length > 256) throw protocolError("hello names no build");
  if (!Array.isArray(features) || features.length > 64 || !features.every((f) => typeof f === "string" && f.length <= 64))
    throw protocolError("hello names no features");
  const version = Math.min(own[1], max);
  if (version < Math.max(own[0], min))
    throw protocolError(`no common protocol version: ours ${own[0]} to ${own[1]}, theirs ${min} to ${max}`);
  return { protocol: [min, max], build, features: features as string[], version };
}

function isVersion(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
