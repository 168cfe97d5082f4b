import type { Duplex } from "node:stream";
import type { Upgrade } from "./upgrade.ts";

/**
 * Joins two connections: what one says, the bytes behind its head first, the other gets, at its pace; the end of one side's
 * words is told to the other. Resolves when both are closed: either's close closes the other.
 */
export function splice(one: Upgrade, other: Upgrade): Promise<void> {
  return Promise.all([relay(one, other.socket), relay(other, one.socket)]).then(() => undefined);
}

function relay({ socket, head }: Upgrade, to: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const closed = (): void => {
      // What is written already still goes out.
      if (!to.destroyed) to.end(() => to.destroy());
      resolve();
    };
    if (socket.destroyed) return closed();
    socket.on("error", () => undefined); // told by its close
    socket.once("close", closed);
    if (head.length > 0) to.write(head);
    socket.pipe(to);
    return undefined;
  });
}
