import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { printJson } from "../terminal/write-out.ts";

/** Characters of a command that are shown. */
const COMMAND_WIDTH = 60;

/** `caisson ps <id>`: processes that were started through the API. */
export function addPsCommand(program: Command, done: Done): void {
  leaf(program, "ps <sandbox>", { description: "list the processes started in a sandbox" })
    .option("-a, --all", "also those that have ended")
    .action(
      action(done, async (id: string, options: CommonOptions & { readonly all?: true }) => {
        const sandbox = await Sandbox.connect(id, { client: connect(options) });
        const processes = (await sandbox.commands.list()).filter((one) => options.all || one.running);
        if (options.json) return printJson(processes);
        printTable(
          ["PROCESS", "PID", "USER", "STATE", "STARTED", "OUTPUT", "COMMAND"],
          processes.map((one) => [
            String(one.process_id),
            String(one.pid),
            one.user,
            one.exit === null ? "running" : `exit ${one.exit.exit_code}`,
            `${distance(one.started_at)} ago`,
            `${one.stdout.end + one.stderr.end} B`,
            printable([one.command, ...one.args].join(" "), COMMAND_WIDTH),
          ]),
        );
      }),
    );
}
