// Identity and time
export * from "./clock.ts";
export * from "./random.ts";
export * from "./id.ts";
export * from "./duration.ts";
export * from "./version.ts";
// Errors
export * from "./error-table.ts";
export * from "./error.ts";
// Resources
export * from "./field.ts";
export * from "./sandbox-state.ts";
export * from "./sandbox.ts";
export * from "./exec.ts";
export * from "./code.ts";
export * from "./socket-protocol.ts";
export * from "./exec-socket.ts";
export * from "./token.ts";
export * from "./file.ts";
export * from "./file-transfer.ts";
export * from "./file-search.ts";
export * from "./file-watch.ts";
export * from "./port.ts";
export * from "./image.ts";
export * from "./capability.ts";
export * from "./event.ts";
export * from "./exec-log.ts";
export * from "./webhook.ts";
export * from "./stats.ts";
export * from "./console.ts";
// Between the floors
export * from "./byte-pool.ts";
export * from "./channel.ts";
export * from "./sandbox-host.ts";
export * from "./guest-methods.ts";
// Configuration
export * from "./config.ts";
