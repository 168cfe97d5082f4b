export * from "./contract/provider.ts";
export { ociProvider, type OciOptions } from "./oci/oci-provider.ts";
export { bubblewrapProvider, type BubblewrapOptions } from "./bubblewrap/bubblewrap-provider.ts";
export { MockProvider } from "./mock/mock-provider.ts";
export { MockMachine, type MockBox, type MockFaults } from "./mock/mock-machine.ts";
export type { IncomingStream } from "./mock/mock-guest.ts";
export type { CommandCall, MockCommand } from "./mock/shell-state.ts";
