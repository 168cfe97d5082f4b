import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable } from "../terminal/printable.ts";
import { print, printJson, printJsonLine } from "../terminal/write-out.ts";

interface LogsOptions extends CommonOptions {
  readonly lines: number;
  readonly follow?: true;
}

/** `caisson logs <id>`: the console. */
export function addLogsCommand(program: Command, done: Done): void {
  leaf(program, "logs <sandbox>", {
    description: "show what the sandbox's own machinery wrote to its console",
    examples: ["caisson logs $ID", "caisson logs -f $ID"],
  })
    .option("-n, --lines <number>", "how many of the last lines", parseWhole, 100)
    .option("-f, --follow", "go on with what it writes, until the sandbox ends")
    .action(action(done, logs));
}

async function logs(id: string, options: LogsOptions): Promise<number | void> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options), signal });
    if (!options.follow) {
      const lines = await sandbox.logs({ lines: options.lines, signal });
      if (options.json) printJson(lines);
      else for (const line of lines) print(printable(line));
      return;
    }
    for await (const line of sandbox.followLogs({ lines: options.lines, signal })) {
      if (options.json) printJsonLine(line);
      else print(printable(line));
    }
  } catch (error) {
    return exitOfInterruption(error);
  }
}
