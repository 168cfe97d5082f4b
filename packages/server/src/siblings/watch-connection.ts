import type { Socket } from "node:net";
import type { Clock } from "@caisson/contract";

/** Time between two looks at a connection, in ms. */
export const LOOK_EVERY_MS = 5_000;
/** Looks in a row at which nothing had moved and the other end could not be reached; then a connection is broken. */
const MISSES = 2;

/**
 * Breaks a connection whose other end has gone without a word. TCP finds that out by itself, but while anything that was sent
 * is not acknowledged it takes a quarter of an hour. `reachable`: whether the other end answers on a new connection.
 */
export function watchConnection(socket: Socket, reachable: () => Promise<boolean>, clock: Clock): void {
  let before = -1;
  let misses = 0;
  const look = async (): Promise<void> => {
    const moved = socket.bytesRead + socket.bytesWritten - socket.writableLength;
    misses = moved !== before || (await reachable()) ? 0 : misses + 1;
    before = moved;
    if (misses >= MISSES) socket.destroy();
    if (!socket.destroyed) again();
  };
  const again = (): void => void (timer = clock.schedule(LOOK_EVERY_MS, () => void look()));
  let timer = { cancel: (): void => undefined };
  again();
  socket.once("close", () => timer.cancel());
}
