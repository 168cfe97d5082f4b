import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** Characters of a command that are shown. */
const COMMAND_WIDTH = 32;

/** `caisson ports <id>`: what listens in a sandbox, and where it can be seen. */
export function addPortsCommand(program: Command, done: Done): void {
  leaf(program, "ports <sandbox>", { description: "list TCP ports that listen in a sandbox", examples: ["caisson ports $ID"] }).action(
    action(done, async (id: string, options: CommonOptions) => {
      const sandbox = await Sandbox.connect(id, { client: connect(options) });
      const ports = await sandbox.ports.list();
      if (options.json) return printJson(ports);
      if (ports.length === 0) return print("Nothing listens. Start a server in the sandbox first.");
      printTable(
        ["PORT", "ADDRESS", "PID", "USER", "COMMAND", "ACCESS", "PREVIEW"],
        ports.map((one) => [
          String(one.port),
          one.address ?? "(not listening)",
          one.pid === null ? "" : String(one.pid),
          one.user ?? "",
          printable(one.command ?? "", COMMAND_WIDTH),
          one.public ? "public" : "private",
          one.url,
        ]),
      );
    }),
  );
}
