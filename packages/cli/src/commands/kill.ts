import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";

/** `caisson kill <id> <process>`. */
export function addKillCommand(program: Command, done: Done): void {
  leaf(program, "kill", { description: "signal a process of a sandbox and all it started" })
    .argument("<sandbox>", "id")
    .argument("<process>", "its number in `caisson ps`", parseWhole)
    .option("-s, --signal <name>", "name without SIG, or number", "TERM")
    .action(
      action(done, async (id: string, processId: number, options: CommonOptions & { readonly signal: string }) => {
        const sandbox = await Sandbox.connect(id, { client: connect(options) });
        await sandbox.commands.kill(processId, { signalName: options.signal.replace(/^SIG/, "") });
      }),
    );
}
