import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { relayCommand } from "../client/relay-command.ts";
import { checkDuration, collectEnv } from "../options/parse-options.ts";
import { OWN_FAILURE } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";

interface ExecOptions extends CommonOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly workdir?: string;
  readonly timeout?: string;
}

/** `caisson exec <id> -- cmd…`: a command in a sandbox that runs. */
export function addExecCommand(program: Command, done: Done): void {
  leaf(program, "exec <sandbox> <command...>", {
    description: "run a command in a sandbox",
    failureExit: OWN_FAILURE,
    passThrough: true,
    examples: ["caisson exec sb1hfqv8k3m00a1b2c3d4e5 -- ls -l /", "caisson exec -u root $ID -- sh -c 'id; pwd'"],
  })
    .option("-e, --env <name=value>", "environment variable; repeatable; NAME alone passes yours on", collectEnv)
    .option("-u, --user <user>", "user: a name, a uid, or uid:gid")
    .option("-w, --workdir <path>", "working directory")
    .option("--timeout <duration>", "kill the command after this time; the exit code is then 124", checkDuration)
    .action(action(done, exec, OWN_FAILURE));
}

async function exec(id: string, operands: readonly string[], options: ExecOptions): Promise<number> {
  // The parser takes the marker away only where it comes before the first operand.
  const argv = operands[0] === "--" ? operands.slice(1) : operands;
  using interrupt = new Interrupt();
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options), signal: interrupt.signal });
    return await relayCommand(sandbox.commands, argv, {
      signal: interrupt.signal,
      env: options.env,
      user: options.user,
      cwd: options.workdir,
      timeout: options.timeout,
      json: options.json === true,
    });
  } catch (error) {
    return exitOfInterruption(error);
  }
}
