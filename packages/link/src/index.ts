export * from "./reconnecting-opener.ts";
export * from "./relay.ts";
export * from "./link.ts";
export type * from "./link-options.ts";
export type { Hello, Peer } from "./hello.ts";
export { OutgoingCall } from "./outgoing-call.ts";
export { IncomingCall, type CallHead } from "./incoming-call.ts";
export type { LastFrame } from "./channel-end.ts";
export type { KeepAliveOptions } from "./keep-alive.ts";
