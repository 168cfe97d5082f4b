import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson logs <id>`: the console. */
export function addLogsCommand(program: Command, done: Done): void {
  leaf(program, "logs <sandbox>", { description: "show what the sandbox's own machinery wrote to its console" })
    .option("-n, --lines <number>", "how many of the last lines", parseWhole, 100)
    .action(
      action(done, async (id: string, options: CommonOptions & { readonly lines: number }) => {
        const sandbox = await Sandbox.connect(id, { client: connect(options) });
        const lines = await sandbox.logs({ lines: options.lines });
        if (options.json) printJson(lines);
        else lines.forEach(print);
      }),
    );
}
