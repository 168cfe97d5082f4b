import { ociProvider } from "@caisson/providers";
import { providerConformance } from "@caisson/providers/conformance";
import { realHarness } from "./provider-harness.ts";

await providerConformance({ name: "oci:crun", make: () => realHarness(ociProvider, "crun") });
