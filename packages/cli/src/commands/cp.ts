import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { copyIn } from "../copy/copy-in.ts";
import { copyOut } from "../copy/copy-out.ts";
import { parsePlace } from "../options/place.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable } from "../terminal/printable.ts";
import { printJson } from "../terminal/write-out.ts";

interface CpOptions extends CommonOptions {
  readonly user?: string;
  readonly mode?: string;
}

/** What the help says below the options. */
const RULES = `
Where things go, as cp -r has it:
  <to> is a folder that exists     into it, under the name that <from> has
  <to> is anything else            becomes <to>
  <from> is folder/.               what is in the folder
  <to> is SANDBOX:/path/           a folder, made where it is missing

Files are compared by SHA-256 and replaced whole; large ones go on after a broken connection. Out of
a sandbox come no set-id bits, devices, or links that lead out of the copy.`;

/** Most lines that tell what was left out. */
const TOLD = 10;

/** `caisson cp <from> <to>`: a file or a folder, of any size, in or out. */
export function addCpCommand(program: Command, done: Done): void {
  leaf(program, "cp <from> <to>", {
    description: "copy a file or folder into a sandbox or out of it",
    examples: [
      "caisson cp main.py $ID:/home/user/main.py",
      "caisson cp $ID:/home/user/plot.png .",
      "caisson cp ./src $ID:/home/user           # makes /home/user/src",
      "caisson cp ./src/. $ID:/home/user/app     # what is in src, into app",
      "caisson cp $ID:/home/user/app ./result",
      "caisson cp $ID:/var/log/app.log - | grep error",
    ],
  })
    .option("-u, --user <user>", "as whom in the sandbox")
    .addHelpText("after", RULES)
    .option("--mode <octal>", "mode of the new file in the sandbox, such as 0755 (default: the source's)")
    .action(action(done, cp));
}

async function cp(from: string, to: string, options: CpOptions): Promise<number | void> {
  const source = parsePlace(from);
  const target = parsePlace(to);
  if (source.on === target.on)
    throw usageError("Exactly one of the two must be in a sandbox.", "Write it as SANDBOX:/path; relative paths are on this machine.");
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  const how = { user: options.user, mode: options.mode, signal, ...(options.json ? { json: options.json } : {}) };
  const id = source.on === "sandbox" ? source.sandbox : target.on === "sandbox" ? target.sandbox : "";
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options), signal });
    const copied = await (source.on === "sandbox" ? copyOut : copyIn)(sandbox, source.path, target.path, how);
    if (options.json && to !== "-") printJson(copied);
    else tellLeft(copied.left ?? []);
  } catch (error) {
    return exitOfInterruption(error);
  }
}

function tellLeft(left: readonly string[]): void {
  for (const line of left.slice(0, TOLD)) process.stderr.write(`caisson: left out ${printable(line, 200)}\n`);
  if (left.length > TOLD) process.stderr.write(`caisson: left out ${left.length - TOLD} more\n`);
}
