export * from "./contract/provider.ts";
export { ociProvider } from "./oci/oci-provider.ts";
export { bubblewrapProvider } from "./bubblewrap/bubblewrap-provider.ts";
