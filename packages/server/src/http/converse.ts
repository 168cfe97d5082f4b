import { isCaissonError } from "@caisson/contract";
import type { FastifyReply, FastifyRequest } from "fastify";
import { toWireError } from "./problem.ts";
import type { SocketPeer } from "./socket-peer.ts";

/**
 * Answers a request that became a WebSocket: by the conversation, and at its end by the close code that says how it ended,
 * behind an `error` where it failed. Resolves when the peer has gone.
 */
export async function converse(
  request: FastifyRequest,
  reply: FastifyReply,
  peer: SocketPeer,
  conversation: () => Promise<void>,
): Promise<FastifyReply> {
  const { scope } = request;
  try {
    await conversation();
    peer.close("done");
  } catch (thrown) {
    const { error } = toWireError(thrown);
    if (error.code === "internal") request.log.error({ err: thrown }, "request failed");
    if (!isCaissonError(error, "cancelled")) scope.failure = error;
    peer.tell({ type: "error", code: error.code, message: error.message, remedy: error.entry.remedy });
    peer.close(error);
  }
  // A server that shuts down waits for no peer that takes its last messages slowly.
  const hurry = (): void => peer.close(toWireError(scope.signal.reason).error);
  scope.signal.addEventListener("abort", hurry, { once: true });
  if (scope.signal.aborted) hurry();
  await peer.closed;
  return reply;
}
