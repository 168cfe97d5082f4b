import { bubblewrapProvider } from "@caisson/providers";
import { providerConformance } from "@caisson/providers/conformance";
import { realHarness } from "./provider-harness.ts";

/** A user id that nothing on a machine has. */
const PLAIN_USER = 54_321;

/** Each suite has a process of its own, so this one may give its rights away for good. */
function becomePlainUser(): void {
  if (process.getuid?.() !== 0) return;
  process.setgroups?.([]);
  process.setgid?.(PLAIN_USER);
  process.setuid?.(PLAIN_USER);
  process.env["HOME"] = "/tmp";
}

becomePlainUser();
await providerConformance({ name: "bubblewrap:user", make: () => realHarness(bubblewrapProvider) });
