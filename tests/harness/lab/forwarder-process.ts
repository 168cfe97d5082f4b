// A process in a network namespace of the lab that passes TCP connections on (`forwarder.ts` has the messages). Its parent's
// end is its own.
import { connect, createServer, type Server, type Socket } from "node:net";
import { Faults } from "./forwarder-faults.ts";
import type { ForwarderAnswer, ForwarderOrder, Target } from "./forwarder.ts";

/** Time that a target gets to take a connection before the next one is tried, in ms. */
const CONNECT_MS = 3_000;

const say = (answer: ForwarderAnswer): void => void process.send?.(answer);
const faults = new Faults((text) => say({ type: "swallowed", text }));
const open = new Set<Socket>();
let turn = 0;

process.on("message", (order: ForwarderOrder, handle: Server | undefined) => {
  switch (order.type) {
    case "listen": {
      // A socket made in another namespace stays there: what it accepts comes from there, and goes on from here.
      const server = handle ?? createServer({ allowHalfOpen: true, pauseOnConnect: true });
      server.on("connection", (socket) => void pass(socket, order.targets));
      if (handle === undefined) server.listen(order.port, () => say({ type: "listening" }));
      else say({ type: "listening" });
      break;
    }
    case "delay":
      faults.delayMs = order.ms;
      break;
    case "swallow":
      faults.swallow = order.request;
      break;
    case "break":
      for (const socket of open) socket.resetAndDestroy();
      break;
    default:
      order satisfies never;
  }
});
process.on("disconnect", () => process.exit());

async function pass(near: Socket, targets: readonly Target[]): Promise<void> {
  keep(near);
  const far = await reach(targets, near);
  if (far === undefined) {
    near.resetAndDestroy();
    return;
  }
  keep(far);
  faults.join(near, far);
}

function keep(socket: Socket): void {
  open.add(socket);
  socket.setNoDelay(true);
  socket.on("error", () => undefined);
  socket.once("close", () => open.delete(socket));
}

/** The first target that takes a connection, beginning with another one each time. */
async function reach(targets: readonly Target[], near: Socket): Promise<Socket | undefined> {
  const first = turn++;
  for (let i = 0; i < targets.length && !near.destroyed; i += 1) {
    const target = targets[(first + i) % targets.length];
    const socket = target === undefined ? undefined : await dial(target);
    if (socket !== undefined) return socket;
  }
  return undefined;
}

function dial(target: Target): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ ...target, allowHalfOpen: true });
    const fail = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    const timer = setTimeout(fail, CONNECT_MS);
    socket.once("error", fail);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", fail);
      resolve(socket);
    });
  });
}
