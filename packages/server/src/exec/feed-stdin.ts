import type { AttachedProcess } from "@caisson/guest";
import type { FastifyBaseLogger } from "fastify";

/** Bytes handed to a process at once. */
const SLICE = 262_144;

/**
 * Gives a process its input beside the reading of its output, so that neither waits for the other. A process may end or
 * close its input before it has read all; that is its affair, so a failure here is only noted.
 */
export function feedStdin(
  attached: AttachedProcess,
  input: Uint8Array | undefined,
  then: "close" | "keep-open",
  log: FastifyBaseLogger,
): void {
  const feed = async (): Promise<void> => {
    for (let at = 0; input !== undefined && at < input.length; at += SLICE) await attached.write(input.subarray(at, at + SLICE));
    if (then === "close") attached.closeInput();
  };
  feed().catch((error: unknown) => log.debug({ err: error, process_id: attached.id }, "input was not taken"));
}
