import { randomUUID } from "node:crypto";
import { Sandbox, type Caisson } from "@caisson/sdk";
import { InvalidArgumentError, type Command } from "commander";
import { connect } from "../client/connect.ts";
import { relayCommand } from "../client/relay-command.ts";
import { SyncedFolder } from "../client/sync-folder.ts";
import { checkDuration } from "../options/parse-options.ts";
import { createRequest, withSandboxOptions, type SandboxOptions } from "../options/sandbox-options.ts";
import { OWN_FAILURE } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt, Interrupted } from "../terminal/interrupt.ts";

interface RunOptions extends SandboxOptions, CommonOptions {
  readonly timeout?: string;
  readonly keep?: true;
  readonly sync?: string;
  readonly exclude?: readonly string[];
}

/** `caisson run -- cmd…`: a sandbox for one command. */
export function addRunCommand(program: Command, done: Done): void {
  const command = leaf(program, "run <command...>", {
    description: "run a command in a new sandbox and destroy it afterwards",
    failureExit: OWN_FAILURE,
    passThrough: true,
    examples: [
      `caisson run -- python3 -c 'print(6*7)'`,
      "caisson run --memory 512m --timeout 10s -- sh -c 'echo $HOME; ls /'",
      "tar c src | caisson run -- tar tv",
      "caisson run --sync . -- npm test      # works on a copy of this folder and brings changes back",
    ],
  });
  withSandboxOptions(command)
    .option("--timeout <duration>", "kill the command after this time; the exit code is then 124", checkDuration)
    .option("--sync <folder>", "run in a copy of this folder, and bring back what changed in it; .git and node_modules stay here")
    .option("--exclude <name>", "name of files or folders that --sync leaves alone; repeatable", collectName)
    .option("--keep", "leave the sandbox when the command has ended, and tell its id")
    .action(action(done, run, OWN_FAILURE));
}

function collectName(name: string, before: readonly string[] = []): readonly string[] {
  if (name === "" || name.includes("/")) throw new InvalidArgumentError("It must be one name, without a slash; it holds at any depth.");
  return [...before, name];
}

async function run(argv: readonly string[], options: RunOptions): Promise<number> {
  using interrupt = new Interrupt();
  const client = connect(options);
  try {
    if (options.sync !== undefined) await SyncedFolder.check(options.sync);
    const sandbox = await create(client, options, interrupt.signal);
    try {
      const { signal } = interrupt;
      const synced = options.sync === undefined ? undefined : await SyncedFolder.send(sandbox, options.sync, options.exclude ?? [], signal);
      const status = await relayCommand(sandbox.commands, argv, {
        signal,
        timeout: options.timeout,
        json: options.json === true,
        ...(synced === undefined ? {} : { cwd: synced.path }),
      });
      await synced?.bringBack(sandbox, signal);
      return status;
    } finally {
      if (options.keep) process.stderr.write(`${sandbox.id}\n`);
      else await sandbox.destroy();
    }
  } catch (error) {
    return exitOfInterruption(error);
  }
}

/** Creates the sandbox. When that is interrupted half-way, the same key finds what was made, so that it can be removed. */
async function create(client: Caisson, options: RunOptions, signal: AbortSignal): Promise<Sandbox> {
  const idempotencyKey = randomUUID();
  const request = createRequest(options);
  try {
    return await Sandbox.create(request, { client, signal, idempotencyKey });
  } catch (error) {
    if (error instanceof Interrupted) {
      const made = await Sandbox.create(request, { client, idempotencyKey });
      await made.destroy();
    }
    throw error;
  }
}
