import { accessSync, constants } from "node:fs";
import { fileURLToPath } from "node:url";
import { CaissonError } from "@caisson/contract";

const TARGET = process.arch === "arm64" ? "aarch64-unknown-linux-gnu" : "x86_64-unknown-linux-gnu";

/** Where the agent's binary is when it has been built. */
export function agentPath(): string {
  return fileURLToPath(new URL(`../../../../agent/target/${TARGET}/release/caisson-agent`, import.meta.url));
}

/** Whether it has been built. */
export function agentIsBuilt(): boolean {
  try {
    accessSync(agentPath(), constants.X_OK);
    return true;
  } catch {
    return false; // the question was whether it is there
  }
}

/** The agent's binary; throws when it has not been built. */
export function requireAgent(): string {
  if (agentIsBuilt()) return agentPath();
  throw new CaissonError("provider_unavailable", "The guest agent has not been built.", {
    detail: { remedy: "Run `npm start`, which builds it, or scripts/build-agent.sh." },
  });
}
