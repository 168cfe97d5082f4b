export type * from "./guest.ts";
export { exitCodeOf } from "./exit-code.ts";
export { GuestClient } from "./guest-client.ts";
export { serveGuest, type GuestHandler, type GuestHandlerOf, type GuestHandlers } from "./serve-guest.ts";
export { Params, required } from "./params.ts";
