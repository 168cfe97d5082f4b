import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";
import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { writeOut } from "../terminal/write-out.ts";

interface CpOptions extends CommonOptions {
  readonly user?: string;
  readonly mode?: string;
}

/** `caisson cp <from> <to>`: one file, of any size, in or out. */
export function addCpCommand(program: Command, done: Done): void {
  leaf(program, "cp <from> <to>", {
    description: "copy a file into a sandbox or out of it",
    examples: [
      "caisson cp main.py $ID:/home/user/main.py",
      "caisson cp $ID:/home/user/plot.png .",
      "caisson cp $ID:/var/log/app.log - | grep error",
      "caisson exec $ID -- tar c /home/user/src | tar x      # a folder",
    ],
  })
    .option("-u, --user <user>", "as whom in the sandbox")
    .option("--mode <octal>", "mode of the new file in the sandbox, such as 0755 (default: the source's)")
    .action(action(done, cp));
}

async function cp(from: string, to: string, options: CpOptions): Promise<void> {
  const source = parsePlace(from);
  const target = parsePlace(to);
  if ((source.sandbox === undefined) === (target.sandbox === undefined)) {
    throw usageError("Exactly one of the two must be in a sandbox.", "Write it as SANDBOX:/path; relative paths are on this machine.");
  }
  const id = source.sandbox ?? target.sandbox ?? "";
  const sandbox = await Sandbox.connect(id, { client: connect(options) });
  if (target.sandbox === undefined) await download(sandbox, source.path, target.path, options);
  else await upload(sandbox, source.path, target.path, options);
}

interface Place {
  readonly sandbox: string | undefined;
  readonly path: string;
}

function parsePlace(text: string): Place {
  const match = /^([a-z0-9]+):(\/.*)$/s.exec(text);
  return match === null ? { sandbox: undefined, path: text } : { sandbox: match[1], path: match[2] ?? "" };
}

async function upload(sandbox: Sandbox, from: string, to: string, options: CpOptions): Promise<void> {
  const found = from === "-" ? undefined : await localFile(from);
  const path = to.endsWith("/") && from !== "-" ? to + basename(from) : to;
  const content: AsyncIterable<Uint8Array> = from === "-" ? process.stdin : createReadStream(from);
  const mode = options.mode ?? (found === undefined ? undefined : (found.mode & 0o777).toString(8).padStart(4, "0"));
  await sandbox.files.write(path, content, { user: options.user, ...(mode === undefined ? {} : { mode }) });
}

async function localFile(path: string): Promise<{ readonly mode: number }> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    throw usageError(`${path} cannot be read: ${error.code ?? error.message}.`, "Check the path.");
  });
  if (found.isDirectory()) throw usageError(`${path} is a folder.`, `Copy folders with: tar c ${path} | caisson exec SANDBOX -- tar x`);
  return found;
}

async function download(sandbox: Sandbox, from: string, to: string, options: CpOptions): Promise<void> {
  const content = await sandbox.files.readStream(from, { user: options.user });
  if (to === "-") {
    for await (const chunk of content) await writeOut("stdout", chunk);
    return;
  }
  const folder = await stat(to).then(
    (found) => found.isDirectory(),
    () => false,
  );
  const path = folder ? `${to.replace(/\/+$/, "")}/${basename(from)}` : to;
  // Under another name until it is whole, so that a copy that breaks leaves no half a file.
  const partial = `${path}.caisson-${process.pid}`;
  try {
    const { mode } = await sandbox.files.stat(from, { user: options.user, follow: true });
    await pipeline(content, createWriteStream(partial, { mode: Number.parseInt(mode, 8) & 0o777 }));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES" || code === "ENOTDIR" || code === "EISDIR") {
      throw usageError(`${path} cannot be written: ${code}.`, "Check the path.");
    }
    throw error;
  }
}
