import type { Socket } from "node:net";
import type { Clock } from "@caisson/contract";

/**
 * Whether a control plane says anything on a new connection, which is broken then: the machine of one that stands still takes
 * connections all the same.
 */
export function isAlive(socket: Socket, withinMs: number, clock: Clock): Promise<boolean> {
  let alive = false;
  return new Promise((resolve) => {
    const timer = clock.schedule(withinMs, () => socket.destroy());
    socket.once("close", () => {
      timer.cancel();
      resolve(alive);
    });
    socket.once("data", () => {
      alive = true;
      socket.destroy();
    });
    socket.write("GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  });
}
