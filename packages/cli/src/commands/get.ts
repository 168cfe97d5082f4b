import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { printable } from "../terminal/printable.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson get <id>`: all that is known of one. */
export function addGetCommand(program: Command, done: Done): void {
  leaf(program, "get <sandbox>", { description: "show all that is known of a sandbox" }).action(
    action(done, async (id: string, options: CommonOptions) => {
      const { info } = await Sandbox.connect(id, { client: connect(options) });
      if (options.json) return printJson(info);
      for (const [name, value] of Object.entries(info)) {
        if (value !== null)
          print(printable(`${`${name}:`.padEnd(17)}${typeof value === "object" ? JSON.stringify(value) : String(value)}`));
      }
    }),
  );
}
