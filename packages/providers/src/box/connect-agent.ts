import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { CaissonError, type Clock } from "@caisson/contract";
import { hasSystemCode } from "../cgroups/cgroup-file.ts";

/** Opens a name without opening what it names; the same on every architecture of Linux. */
const O_PATH = 0o10_000_000;
const CONNECT_LIMIT_MS = 5_000;

/**
 * What all connections read into, one after the other: otherwise each read takes 64 KiB outside the heap, and collecting
 * those costs more than all else that is done with a stream. Links copy what they keep.
 */
const shared = Buffer.allocUnsafeSlow(262_144);

/**
 * A connection to the socket at `path`. The path may be of any length, and a link that a sandbox put there is not
 * followed: the socket is opened by name first, then connected to through its descriptor. A chunk that it reads is valid
 * only during its `data` event.
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
    return await connected(open(`/proc/self/fd/${fd}`), clock, signal);
  } finally {
    closeSync(fd);
  }
}

function open(path: string): Socket {
  const socket: Socket = connect({
    path,
    onread: {
      buffer: shared,
      callback: (length, buffer) => {
        socket.emit("data", buffer.subarray(0, length));
        return true;
      },
    },
  });
  return socket;
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
