import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { CaissonError, type Clock } from "@caisson/contract";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";

/** Opens a name without opening what it names; the same on every architecture of Linux. */
const O_PATH = 0o10_000_000;
const CONNECT_LIMIT_MS = 5_000;

/**
 * A connection to the socket at `path`. The path may be of any length, and a link that a sandbox put there is not
 * followed: the socket is opened by name first, then connected to through its descriptor.
 */
export async function connectAgent(path: string, clock: Clock, signal?: AbortSignal): Promise<Socket> {
  signal?.throwIfAborted();
  let fd: number;
  try {
    fd = openSync(path, O_PATH | constants.O_NOFOLLOW);
  } catch (error) {
    if (!hasSystemCode(error, "ENOENT", "ENOTDIR", "ELOOP")) throw error;
    throw new CaissonError("agent_unreachable", "The sandbox has no socket: it is not running.", { cause: error });
  }
  try {
    if (!fstatSync(fd).isSocket()) throw new CaissonError("agent_unreachable", "What lies at the agent's place is no socket.");
    return await connected(connect({ path: `/proc/self/fd/${fd}` }), clock, signal);
  } finally {
    closeSync(fd);
  }
}

function connected(socket: Socket, clock: Clock, signal?: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const settle = (run: () => void): void => {
      timer.cancel();
      signal?.removeEventListener("abort", abort);
      socket.off("error", fail);
      socket.off("connect", done);
      run();
    };
    const drop = (error: Error): void =>
      settle(() => {
        socket.on("error", () => undefined);
        socket.destroy();
        reject(error);
      });
    const done = (): void => settle(() => resolve(socket));
    const fail = (error: Error): void =>
      drop(new CaissonError("agent_unreachable", `The agent does not accept connections: ${error.message}`, { cause: error }));
    const abort = (): void => drop(signal?.reason as Error);
    const timer = clock.schedule(CONNECT_LIMIT_MS, () =>
      drop(new CaissonError("agent_unreachable", `The agent did not accept within ${CONNECT_LIMIT_MS} ms.`)),
    );
    socket.once("connect", done);
    socket.once("error", fail);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
