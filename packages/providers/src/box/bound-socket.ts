import { lstatSync, renameSync } from "node:fs";
import { join } from "node:path";
import { CaissonError, type Clock } from "@caisson/contract";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";
import { SOCKET_NAME } from "./agent-arguments.ts";
import { connectAgent } from "./connect-agent.ts";

/** Folder of the box's folder that the box sees, where its agent binds a socket that it could not inherit. */
export const BOUND_SOCKET_FOLDER = "socket";
const BIND_LIMIT_MS = 15_000;
const LOOK_MS = 4;

/**
 * Takes the socket out of the folder that the box sees: nothing inside can reach it by a name any more, and nothing can
 * be put in its place. A socket is found by its inode, so the agent goes on listening on it.
 */
export function takeBoundSocket(dir: string): void {
  const shared = join(dir, BOUND_SOCKET_FOLDER, SOCKET_NAME);
  const taken = join(dir, SOCKET_NAME);
  if (lstatSync(taken, { throwIfNoEntry: false }) !== undefined) return;
  try {
    if (lstatSync(shared).isSocket()) renameSync(shared, taken);
  } catch (error) {
    if (!hasSystemCode(error, "ENOENT", "ENOTDIR")) throw error;
  }
}

/** Waits until an agent that binds its socket itself accepts on it, then takes the socket. */
export async function awaitBoundSocket(dir: string, clock: Clock, signal?: AbortSignal): Promise<void> {
  const deadline = clock.monotonic() + BIND_LIMIT_MS;
  for (;;) {
    try {
      // Not sooner: between binding and listening the agent still names it.
      (await connectAgent(join(dir, BOUND_SOCKET_FOLDER, SOCKET_NAME), clock, signal)).destroy();
      return takeBoundSocket(dir);
    } catch (cause) {
      signal?.throwIfAborted();
      if (clock.monotonic() > deadline)
        throw new CaissonError("provider_failed", `The agent did not listen within ${BIND_LIMIT_MS} ms.`, { cause });
      await clock.sleep(LOOK_MS, signal);
    }
  }
}
