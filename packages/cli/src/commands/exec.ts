import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { relayCommand } from "../client/relay-command.ts";
import { relayTerminal } from "../client/relay-terminal.ts";
import { checkDuration, collectEnv } from "../options/parse-options.ts";
import { OWN_FAILURE } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface ExecOptions extends CommonOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly timeout?: string;
  readonly tty?: true;
  readonly interactive?: true;
  readonly detach?: true;
  readonly tag?: string;
}

/** `caisson exec <id> -- cmd…`: a command in a sandbox that runs. */
export function addExecCommand(program: Command, done: Done): void {
  leaf(program, "exec <sandbox> <command...>", {
    description: "run a command in a sandbox",
    failureExit: OWN_FAILURE,
    passThrough: true,
    examples: [
      "caisson exec sb1hfqv8k3m00a1b2c3d4e5 -- ls -l /",
      "caisson exec -u root $ID -- sh -c 'id; pwd'",
      "caisson exec -it $ID -- htop",
    ],
  })
    .option("-e, --env <name=value>", "environment variable; repeatable; NAME alone passes yours on", collectEnv)
    .option("-u, --user <user>", "user: a name, a uid, or uid:gid")
    .option("-w, --workdir <path>", "working directory")
    .option("--timeout <duration>", "kill the command after this time; the exit code is then 124", checkDuration)
    .option("-t, --tty", "give it a terminal, which is this one; Ctrl-P Ctrl-Q leaves it running")
    .option("-i, --interactive", "pass on standard input even when it is a terminal; pipes and files are passed on anyway")
    .option("-d, --detach", "leave it in the background and print its number in `caisson ps`")
    .option("--tag <tag>", "a label, which `GET …/processes?tag=` finds")
    .action(action(done, exec, OWN_FAILURE));
}

async function exec(id: string, operands: readonly string[], options: ExecOptions): Promise<number> {
  // The parser takes the marker away only where it comes before the first operand.
  const argv = operands[0] === "--" ? operands.slice(1) : operands;
  const client = connect(options);
  const how = { env: options.env, user: options.user, cwd: options.workdir, timeout: options.timeout, tag: options.tag };
  if (options.detach) {
    const sandbox = await Sandbox.connect(id, { client });
    const started = await sandbox.commands.spawn(argv, how);
    if (options.json) printJson(started);
    else print(String(started.process_id));
    return 0;
  }
  if (options.tty) {
    const { TERM } = process.env;
    const env = { ...(TERM === undefined ? {} : { TERM }), ...options.env };
    const sandbox = await Sandbox.connect(id, { client });
    return relayTerminal({
      open: (terminal, size) => sandbox.pty.create({ ...terminal, ...size, ...how, env, command: argv }),
      again: false,
      comeBack: (processId) => `caisson attach ${id} ${processId}`,
    });
  }
  using interrupt = new Interrupt();
  try {
    const sandbox = await Sandbox.connect(id, { client, signal: interrupt.signal });
    return await relayCommand(sandbox.commands, argv, {
      ...how,
      signal: interrupt.signal,
      input: options.interactive ? "any" : "piped",
      json: options.json === true,
    });
  } catch (error) {
    return exitOfInterruption(error);
  }
}
