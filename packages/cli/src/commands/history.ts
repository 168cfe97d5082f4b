import { Sandbox, type ExecLogEntry } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { printJson } from "../terminal/write-out.ts";

/** Characters of a command that are shown. */
const COMMAND_WIDTH = 80;

/** `caisson history <id>`: what was run. */
export function addHistoryCommand(program: Command, done: Done): void {
  leaf(program, "history <sandbox>", {
    description: "show what was run in a sandbox, the newest first, also after its end",
    examples: ["caisson history $ID -n 5", "caisson history $ID --json"],
  })
    .option("-n, --lines <number>", "how many of the last processes", parseWhole, 50)
    .action(
      action(done, async (id: string, options: CommonOptions & { readonly lines: number }) => {
        const sandbox = await Sandbox.connect(id, { client: connect(options) });
        const entries: ExecLogEntry[] = [];
        if (options.lines > 0) {
          for await (const entry of sandbox.history({ pageSize: Math.min(options.lines, 1000) })) {
            entries.push(entry);
            if (entries.length === options.lines) break;
          }
        }
        if (options.json) return printJson(entries);
        printTable(
          ["PROCESS", "STARTED", "KIND", "STATE", "TOOK", "KEY", "COMMAND"],
          entries.map((entry) => [
            String(entry.process_id),
            `${distance(entry.started_at)} ago`,
            entry.kind,
            stateOf(entry),
            entry.duration_ms === null ? "-" : `${(entry.duration_ms / 1000).toFixed(3)} s`,
            entry.key ?? "-",
            printable([entry.command, ...entry.args].join(" "), COMMAND_WIDTH),
          ]),
        );
      }),
    );
}

function stateOf(entry: ExecLogEntry): string {
  if (entry.ended_at === null) return "running";
  if (entry.exit_code === null) return "ended with the sandbox";
  return entry.timed_out ? "timed out" : `exit ${entry.exit_code}`;
}
