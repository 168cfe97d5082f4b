import { Sandbox, type Process } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { recentOutput } from "../client/recent-output.ts";
import { relayTerminal } from "../client/relay-terminal.ts";
import { parseWhole } from "../options/parse-options.ts";
import { OWN_FAILURE } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable } from "../terminal/printable.ts";
import { printJsonLine, writeOut } from "../terminal/write-out.ts";

interface AttachOptions extends CommonOptions {
  readonly from?: number;
  readonly stderrFrom?: number;
}

/** `caisson attach <id> <process>`: what a process says, from a byte on. */
export function addAttachCommand(program: Command, done: Done): void {
  leaf(program, "attach", {
    description: "follow a process of a sandbox; Ctrl-C leaves it running",
    failureExit: OWN_FAILURE,
    examples: ["caisson attach $ID 3", "caisson attach --from 1048576 $ID 3 > rest.log"],
  })
    .argument("<sandbox>", "id")
    .argument("<process>", "its number in `caisson ps`", parseWhole)
    .option("--from <byte>", "first byte wanted of its output (default: the oldest kept; in a terminal, the last screenful)", parseWhole)
    .option("--stderr-from <byte>", "the same for its error output", parseWhole)
    .action(action(done, attach, OWN_FAILURE));
}

async function attach(id: string, processId: number, options: AttachOptions): Promise<number> {
  const sandbox = await Sandbox.connect(id, { client: connect(options) });
  const found = await sandbox.processes.get(processId);
  if (found.pty && found.running && process.stdin.isTTY && process.stdout.isTTY && !options.json) {
    const from = options.from ?? (await recentOutput(sandbox, processId)).from;
    return relayTerminal({
      open: (terminal) => sandbox.pty.connect(processId, { ...terminal, from }),
      again: true,
      comeBack: () => `caisson attach ${id} ${processId}`,
    });
  }
  return follow(sandbox, found, options);
}

async function follow(sandbox: Sandbox, { process_id: processId }: Process, options: AttachOptions): Promise<number> {
  using interrupt = new Interrupt();
  const from = {
    ...(options.from === undefined ? {} : { stdout: options.from }),
    ...(options.stderrFrom === undefined ? {} : { stderr: options.stderrFrom }),
  };
  const typed = process.stdin.isTTY ? typeInto(sandbox, processId) : undefined;
  try {
    for await (const event of sandbox.processes.attach(processId, { from, signal: interrupt.signal })) {
      if (options.json) printJsonLine(event.type === "output" ? { ...event, bytes: undefined } : event);
      else if (event.type === "output") await writeOut(event.stream, event.bytes);
      else if (event.type === "gap") process.stderr.write(`caisson: bytes ${event.from} to ${event.to} of ${event.stream} are not kept\n`);
      if (event.type === "exit") return event.exitCode;
    }
    return OWN_FAILURE;
  } catch (error) {
    return exitOfInterruption(error);
  } finally {
    typed?.();
  }
}

/** Passes on what is typed, line by line, until the process takes no more. Returns what ends it. */
function typeInto(sandbox: Sandbox, processId: number): () => void {
  const type = (bytes: Buffer): void => {
    process.stdin.pause();
    sandbox.processes.writeStdin(processId, bytes).then(
      () => process.stdin.resume(),
      (error: unknown) => {
        process.stdin.off("data", type);
        process.stderr.write(`caisson: the process takes no input: ${printable(error instanceof Error ? error.message : String(error))}\n`);
      },
    );
  };
  process.stdin.on("data", type);
  return () => process.stdin.destroy();
}
