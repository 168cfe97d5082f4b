import { agentIsFresh, ensureAgent } from "./agent.mjs";
import { ensureDependencies } from "./dependencies.mjs";
import { findProgram } from "./project.mjs";
import { BUILD_NEEDS, ensureSystemPackages, installCommand, RUNTIME_NEEDS } from "./system-packages.mjs";
import { StepFailed } from "./terminal.mjs";

/** From a fresh clone to where `caisson` runs sandboxes; each step does nothing when it has nothing to do. Resolves with the Node to use. */
export async function makeReady() {
  const node = await ensureDependencies();
  await ensureSystemPackages(agentIsFresh() ? RUNTIME_NEEDS : [...RUNTIME_NEEDS, ...BUILD_NEEDS]);
  await ensureAgent();
  if (!["crun", "runc", "runsc", "bwrap"].some(findProgram)) {
    throw new StepFailed(
      "Nothing on this machine can isolate a sandbox: crun, runc, runsc and bwrap are all missing.",
      `Run: ${installCommand(["bubblewrap", "crun", "uidmap"])}`,
    );
  }
  return node;
}
