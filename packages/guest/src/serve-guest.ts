import type { Duplex } from "node:stream";
import { CaissonError, GUEST_METHODS, toCaissonError, type Clock, type GuestMethod } from "@caisson/contract";
import { Link, type IncomingCall } from "@caisson/link";
import { Params } from "./params.ts";

/**
 * Serves one method: takes its parameters (all of them, then `finish`), answers and streams on the call, and returns when
 * done. What it throws fails the call, before or after its answer.
 */
export type GuestHandler = (call: IncomingCall, params: Params) => Promise<void> | void;

/** The guest protocol's methods; one that is missing is refused with `unsupported`. */
export type GuestHandlers = Partial<Readonly<Record<GuestMethod, GuestHandler>>>;

/** What serves a method; undefined when nothing does. */
export type GuestHandlerOf = (method: GuestMethod) => GuestHandler | undefined;

/** Speaks the agent's side of the guest protocol on a stream, from TypeScript. The link ends with the stream. */
export function serveGuest(stream: Duplex, handlerOf: GuestHandlerOf, clock: Clock): Link {
  return new Link(stream, { role: "listener", clock, build: "caisson-guest-ts", onOpen: (call) => void serve(call, handlerOf) });
}

async function serve(call: IncomingCall, handlerOf: GuestHandlerOf): Promise<void> {
  try {
    if (!Object.hasOwn(GUEST_METHODS, call.method))
      throw new CaissonError("unsupported", `There is no method ${call.method.slice(0, 64)}.`);
    const handler = handlerOf(call.method as GuestMethod);
    if (handler === undefined) throw new CaissonError("unsupported", `${call.method} is not served here.`);
    await handler(call, new Params(call.params));
  } catch (error) {
    call.fail(toCaissonError(error));
  }
}
