import { ociProvider } from "@caisson/providers";
import { providerConformance } from "@caisson/providers/conformance";
import { realHarness } from "./provider-harness.ts";

await providerConformance({ name: "oci:runsc", make: () => realHarness(ociProvider, "runsc") });
