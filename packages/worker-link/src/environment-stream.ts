import { CaissonError, envSchema, type Channel } from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";

/** Most bytes of an environment, as JSON: the API takes bodies of 1 MiB. */
const MAX_BYTES = 4_194_304;

/** Sends an environment as the input of a call, as JSON; it may be larger than what fits into parameters. */
export async function sendEnvironment(channel: Channel, env: Readonly<Record<string, string>>): Promise<void> {
  if (Object.keys(env).length > 0) await channel.write(Buffer.from(JSON.stringify(env)));
  channel.end();
}

/** The environment that is the input of a call; nothing is none. */
export async function readEnvironment(call: IncomingCall): Promise<Readonly<Record<string, string>>> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const frame of call) {
    if (frame.kind !== "data") throw new CaissonError("invalid_argument", `The input of ${call.method} is bytes.`);
    bytes += frame.bytes.length;
    if (bytes > MAX_BYTES) throw new CaissonError("invalid_argument", `An environment has at most ${MAX_BYTES} bytes.`);
    pieces.push(frame.bytes);
  }
  if (bytes === 0) return {};
  let json: unknown;
  try {
    json = JSON.parse(Buffer.concat(pieces).toString("utf8"));
  } catch (cause) {
    throw new CaissonError("invalid_argument", "The environment is not JSON.", { cause });
  }
  const read = envSchema.safeParse(json);
  if (read.success) return read.data;
  throw new CaissonError("invalid_argument", `The environment does not fit: ${read.error.issues[0]?.message ?? "it is wrong"}.`);
}
