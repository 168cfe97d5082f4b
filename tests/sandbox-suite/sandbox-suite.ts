import { describe } from "vitest";
import { codeContexts } from "./code-contexts.ts";
import { commands } from "./commands.ts";
import { execLog } from "./exec-log.ts";
import { fileCommands } from "./file-commands.ts";
import { files } from "./files.ts";
import { git } from "./git.ts";
import { observation } from "./observation.ts";
import { ports } from "./ports.ts";
import { previews } from "./previews.ts";
import type { SandboxTarget } from "./sandbox-target.ts";
import { slowReaders } from "./slow-readers.ts";
import { terminals } from "./terminals.ts";

/** Each part of the suite by its subject. */
export const SANDBOX_SUITE = {
  commands,
  terminals,
  files,
  ports,
  previews,
  "code contexts": codeContexts,
  git,
  observation,
  "the exec log": execLog,
  "slow readers": slowReaders,
  "file commands": fileCommands,
} as const satisfies Record<string, (target: () => SandboxTarget) => void>;

export type SuitePart = keyof typeof SANDBOX_SUITE;
export const SUITE_PARTS = Object.keys(SANDBOX_SUITE) as SuitePart[];

/**
 * All that holds in a sandbox, wherever it lives: the same against a server that runs it itself and against any worker of
 * any installation. The target is asked for when the tests run.
 */
export function describeSandboxSuite(target: () => SandboxTarget, parts: readonly SuitePart[] = SUITE_PARTS): void {
  describe.each(parts)("%s", (part) => {
    SANDBOX_SUITE[part](target);
  });
}
