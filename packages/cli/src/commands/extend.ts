import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { checkDuration } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson extend <id> <ttl>`. */
export function addExtendCommand(program: Command, done: Done): void {
  leaf(program, "extend", { description: "set the time to live of a sandbox, counted from now" })
    .argument("<sandbox>", "id")
    .argument("<ttl>", "such as 30m", checkDuration)
    .action(
      action(done, async (id: string, ttl: string, options: CommonOptions) => {
        const sandbox = await Sandbox.connect(id, { client: connect(options) });
        const info = await sandbox.extend(ttl);
        if (options.json) printJson(info);
        else print(`${id} ends at ${info.expires_at}`);
      }),
    );
}
