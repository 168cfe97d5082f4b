import { Command, type CommanderError } from "commander";
import { CliError } from "./cli-error.ts";

/** Options that every command has. */
export interface CommonOptions {
  /** Answers are JSON on standard output; errors are problem documents on standard error. */
  readonly json?: true;
  readonly url?: string;
  readonly apiKey?: string;
  readonly config?: string;
}

/** How a command ends: an exit code, or nothing for 0. */
export type Outcome = Promise<number | void>;

/** What a leaf is made of. */
export interface LeafOptions {
  /** Its first line stands in the list of commands. */
  readonly description: string;
  /** Exit code of every failure of our own. Default: the one of the error's code. */
  readonly failureExit?: number;
  /** Everything after the first operand belongs to the command that is run. */
  readonly passThrough?: true;
  /** Asks no server that `--url` and `--api-key` could name. */
  readonly serverless?: true;
  /** Shown below the help. */
  readonly examples?: readonly string[];
}

/** Where leaves tell their exit code. */
export type Done = (code: number) => void;

/** A command with the options that every command has. */
export function leaf(parent: Command, nameAndArguments: string, options: LeafOptions): Command {
  const command = parent
    .command(nameAndArguments)
    .summary(options.description.split("\n", 1)[0] ?? "")
    .description(options.description)
    .option("--json", "answer in JSON")
    .option("--config <file>", "configuration file (default: CAISSON_CONFIG)")
    .showHelpAfterError(`(${parentNames(parent)} ${nameAndArguments.split(" ", 1)[0]} --help shows how)`)
    .exitOverride((error: CommanderError) => {
      throw options.failureExit === undefined || error.exitCode === 0 ? error : new CliError(error, options.failureExit);
    });
  if (options.serverless === undefined) {
    command
      .option("--url <url>", "address of the server (default: CAISSON_URL, else the one on this machine)")
      .option("--api-key <key>", "API key (default: CAISSON_API_KEY, else the local server's)");
  }
  if (options.passThrough) command.passThroughOptions();
  if (options.examples !== undefined)
    command.addHelpText("after", `\nExamples:\n${options.examples.map((line) => `  ${line}`).join("\n")}`);
  return command;
}

/** What is typed before the name of a leaf. */
function parentNames(parent: Command): string {
  return parent.parent === null ? parent.name() : `${parentNames(parent.parent)} ${parent.name()}`;
}

/** The action of a leaf: its exit code goes to `done`, its failures get the leaf's exit code. */
export function action<Arguments extends unknown[]>(
  done: Done,
  run: (...args: Arguments) => Outcome,
  failureExit?: number,
): (...args: Arguments) => Promise<void> {
  return async (...args) => {
    try {
      inherit(args);
      done((await run(...args)) ?? 0);
    } catch (error) {
      throw failureExit === undefined || error instanceof CliError ? error : new CliError(error, failureExit);
    }
  };
}

/** Options that were given to the command above, as in `caisson worker --config FILE identity`, are given to this one. */
function inherit(args: unknown[]): void {
  const command = args.at(-1);
  if (command instanceof Command) args[args.length - 2] = { ...command.parent?.opts(), ...command.opts() };
}
