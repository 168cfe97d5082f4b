export * from "./contract/provider.ts";
