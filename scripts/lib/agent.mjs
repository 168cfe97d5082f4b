// The guest agent: built when its sources are newer than its binary.
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { childEnv, exists, findProgram, ROOT } from "./project.mjs";
import { BUILD_NEEDS, installCommand } from "./system-packages.mjs";
import { run, step, StepFailed } from "./terminal.mjs";

const TARGET = process.arch === "arm64" ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";
const BINARY = join(ROOT, "agent", "target", TARGET, "release", "caisson-agent");

/** Whether the binary is newer than all it is made from. */
export function agentIsFresh() {
  if (!exists(BINARY)) return false;
  const built = statSync(BINARY).mtimeMs;
  return sources(join(ROOT, "agent")).every((path) => statSync(path).mtimeMs <= built);
}

/** Builds the agent unless it is fresh. */
export async function ensureAgent() {
  if (agentIsFresh()) return;
  if (findProgram("cargo") === undefined) {
    if (exists(BINARY)) return; // an older one still works with what it was built for
    throw new StepFailed(
      "The guest agent cannot be built: there is no cargo on this machine, and no sandbox works without the agent.",
      `Run: ${installCommand(BUILD_NEEDS.flatMap((need) => need.packages))}`,
    );
  }
  await step("Build the guest agent (cargo)", async () => {
    await run("bash", [join(ROOT, "scripts", "build-agent.sh")], { cwd: ROOT, env: childEnv() });
  });
}

function sources(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "target" || entry.name === "fuzz" ? [] : sources(path);
    return /\.rs$|^Cargo\./.test(entry.name) ? [path] : [];
  });
}
