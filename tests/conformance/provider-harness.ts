import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { systemClock, systemRandom } from "@caisson/contract";
import type { Provider, ProviderContext } from "@caisson/providers";
import type { ConformanceHarness } from "@caisson/providers/conformance";
import { agentBinary } from "@caisson/testkit";
import { ensureHostSkeleton } from "@caisson/worker";
import { tracesOf } from "../harness/machine.ts";

/** A real provider over this machine's own programs, in a folder of its own. */
export async function realHarness(make: (context: ProviderContext) => Provider, runtime?: string): Promise<ConformanceHarness> {
  const agentPath = agentBinary();
  if (agentPath === undefined) throw new Error("the guest agent is not built: run scripts/build-agent.sh");
  const base = await mkdtemp("/tmp/caisson-conformance-");
  await chmod(base, 0o755);
  const dir = join(base, "boxes");
  const staging = join(base, "staging");
  await mkdir(staging);
  const skeleton = await ensureHostSkeleton({ dir: join(base, "skeletons"), staging });
  const context: ProviderContext = { dir, agentPath, clock: systemClock, random: systemRandom, log: () => undefined };
  // Groups are named after the provider's folder, so that runs beside this one do not count.
  const groups = `caisson-${createHash("sha256").update(dir).digest("hex").slice(0, 8)}-`;
  return {
    provider: make(context),
    clock: systemClock,
    rootfs: { kind: "host", skeleton: skeleton.path },
    dir,
    ...(runtime === undefined ? {} : { runtime }),
    restart: async () => make(context),
    leftovers: () => tracesOf(dir, [groups]),
    dispose: () => rm(base, { recursive: true, force: true }),
  };
}
