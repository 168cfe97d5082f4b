// `npm run bench`: sets up what a server needs, then compares it with the tools below it, in one run.
import { join } from "node:path";
import process from "node:process";
import { ensureAgent } from "./lib/agent.mjs";
import { ensureDependencies } from "./lib/dependencies.mjs";
import { childEnv, ROOT } from "./lib/project.mjs";
import { BUILD_NEEDS, ensureSystemPackages, RUNTIME_NEEDS } from "./lib/system-packages.mjs";
import { main, runAttached } from "./lib/terminal.mjs";

await main(async () => {
  const node = await ensureDependencies();
  await ensureSystemPackages([...RUNTIME_NEEDS, ...BUILD_NEEDS]);
  await ensureAgent();
  const args = ["--conditions=@caisson/source", join(ROOT, "bench", "run.ts"), ...process.argv.slice(2)];
  return runAttached(node, args, { cwd: ROOT, env: childEnv() });
});
