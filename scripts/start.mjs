// `npm start`: from a fresh clone to a running server. Each step does nothing when it has nothing to do.
import { join } from "node:path";
import process from "node:process";
import { agentIsFresh, ensureAgent } from "./lib/agent.mjs";
import { ensureDependencies } from "./lib/dependencies.mjs";
import { childEnv, findProgram, ROOT } from "./lib/project.mjs";
import { BUILD_NEEDS, ensureSystemPackages, installCommand, RUNTIME_NEEDS } from "./lib/system-packages.mjs";
import { main, runAttached, StepFailed } from "./lib/terminal.mjs";

await main(async () => {
  const node = await ensureDependencies();
  await ensureSystemPackages(agentIsFresh() ? RUNTIME_NEEDS : [...RUNTIME_NEEDS, ...BUILD_NEEDS]);
  await ensureAgent();
  if (!["crun", "runc", "runsc", "bwrap"].some(findProgram)) {
    throw new StepFailed(
      "Nothing on this machine can isolate a sandbox: crun, runc, runsc and bwrap are all missing.",
      `Run: ${installCommand(["bubblewrap", "crun", "uidmap"])}`,
    );
  }
  const args = [join(ROOT, "packages", "cli", "bin", "caisson.mjs"), "serve", ...process.argv.slice(2)];
  // Becoming the server, where this Node can, leaves one process fewer between it and its signals.
  if (typeof process.execve === "function") process.execve(node, [node, ...args], childEnv());
  return runAttached(node, args, { env: childEnv() });
});
