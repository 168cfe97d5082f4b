import { bubblewrapProvider } from "@caisson/providers";
import { providerConformance } from "@caisson/providers/conformance";
import { realHarness } from "./provider-harness.ts";

await providerConformance({ name: "bubblewrap", make: () => realHarness(bubblewrapProvider) });
