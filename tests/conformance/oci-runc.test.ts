import { ociProvider } from "@caisson/providers";
import { providerConformance } from "@caisson/providers/conformance";
import { realHarness } from "./provider-harness.ts";

await providerConformance({ name: "oci:runc", make: () => realHarness(ociProvider, "runc") });
