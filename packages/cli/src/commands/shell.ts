import { Sandbox, type TerminalSize } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { relayTerminal } from "../client/relay-terminal.ts";
import { recentOutput } from "../client/recent-output.ts";
import { checkDuration, collectEnv, parseWhole } from "../options/parse-options.ts";
import { OWN_FAILURE, usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface ShellOptions extends CommonOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly attach?: number;
  readonly web?: true;
  readonly ttl?: string;
}

/** `caisson shell <id>`: a terminal in a sandbox. */
export function addShellCommand(program: Command, done: Done): void {
  leaf(program, "shell <sandbox> [command...]", {
    description: "open a terminal in a sandbox; Ctrl-P Ctrl-Q leaves it running",
    failureExit: OWN_FAILURE,
    passThrough: true,
    examples: [
      "caisson shell sb1hfqv8k3m00a1b2c3d4e5",
      "caisson shell $ID -- vim /etc/hosts",
      "caisson shell --attach 3 $ID",
      "caisson shell --web $ID   # prints an address for a browser",
    ],
  })
    .option("-e, --env <name=value>", "environment variable; repeatable; NAME alone passes yours on", collectEnv)
    .option("-u, --user <user>", "user: a name, a uid, or uid:gid")
    .option("-w, --workdir <path>", "working directory")
    .option("--attach <process>", "come back to a terminal, by its number in `caisson ps`", parseWhole)
    .option("--web", "print the address of a terminal for a browser, and do no more")
    .option("--ttl <duration>", "with --web: how long the address opens one (default: 1h, at most 24h)", checkDuration)
    .action(action(done, shell, OWN_FAILURE));
}

async function shell(id: string, operands: readonly string[], options: ShellOptions): Promise<number> {
  const argv = operands[0] === "--" ? operands.slice(1) : operands;
  const client = connect(options);
  const sandbox = await Sandbox.connect(id, { client });
  if (options.web) return printAddress(sandbox, client.url, options);
  if (options.ttl !== undefined) throw usageError("--ttl goes with --web only.", "A shell ends when it is left.");
  const { attach } = options;
  const comeBack = (processId: number): string => `caisson shell --attach ${processId} ${id}`;
  if (attach !== undefined) {
    if (argv.length > 0) throw usageError("--attach goes without a command.", "The process runs its own.");
    const { from } = await recentOutput(sandbox, attach);
    return relayTerminal({ open: (terminal) => sandbox.pty.connect(attach, { ...terminal, from }), again: true, comeBack });
  }
  const { TERM } = process.env;
  return relayTerminal({
    open: (terminal, size: TerminalSize) =>
      sandbox.pty.create({
        ...terminal,
        ...size,
        ...(argv.length === 0 ? {} : { command: argv }),
        env: { ...(TERM === undefined ? {} : { TERM }), ...options.env },
        user: options.user,
        cwd: options.workdir,
        timeout: "0",
        tag: "shell",
      }),
    again: false,
    comeBack,
  });
}

async function printAddress(sandbox: Sandbox, url: string, options: ShellOptions): Promise<number> {
  const { token, expires_at } = await sandbox.createToken({ action: "exec", ttl: options.ttl ?? "1h" });
  const address = `${url}/terminal/${sandbox.id}#token=${token}`;
  if (options.json) printJson({ url: address, expires_at });
  else print(address);
  return 0;
}
