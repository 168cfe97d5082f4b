import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { packFolder } from "../client/pack-folder.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";
import { printTable } from "../terminal/table.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson image ls|pull|import|rm`. */
export function addImageCommands(program: Command, done: Done): void {
  const image = program.command("image").description("images that sandboxes are made from");
  withWorker(leaf(image, "ls", { description: "list images" })).action(
    action(done, async (options: ImageOptions) => {
      const images = await connect(options).images.list(workerOf(options));
      if (options.json) return printJson(images);
      const several = new Set(images.map((one) => one.worker_id)).size > 1;
      printTable(
        [...(several ? ["WORKER"] : []), "NAME", "DIGEST", "SOURCE", "SIZE", "AGE", "SANDBOXES"],
        images.map((one) => [
          ...(several ? [one.worker_id] : []),
          one.name,
          one.digest?.slice(0, 19) ?? "-",
          one.source,
          one.source === "builtin" ? "-" : `${(one.size_bytes / 1_048_576).toFixed(1)} MiB`,
          one.source === "builtin" ? "-" : distance(one.created_at),
          String(one.sandboxes),
        ]),
      );
    }),
  );
  withWorker(leaf(image, "pull <reference>", { description: "fetch an image from a registry", examples: ["caisson image pull debian:12"] }))
    .option("--force", "ask the registry again even when it is here")
    .action(
      action(done, async (reference: string, options: ImageOptions & { readonly force?: true }) => {
        const pulled = await connect(options, { admin: true }).images.pull(reference, {
          ...workerOf(options),
          ...(options.force ? { force: true } : {}),
        });
        if (options.json) printJson(pulled);
        else print(printable(`${pulled.name} ${pulled.digest ?? ""}`));
      }),
    );
  const importing = leaf(image, "import <name> <from>", {
    description: "store a root file system from a tar archive (plain, gzip, zstd), a folder, or - for standard input",
    examples: ["caisson image import mine ./rootfs", "docker export c1 | caisson image import mine -"],
  });
  withWorker(importing).action(
    action(done, async (name: string, from: string, options: ImageOptions) => {
      const imported = await connect(options, { admin: true }).images.import(name, await archiveOf(from), workerOf(options));
      if (options.json) printJson(imported);
      else print(printable(`${imported.name} ${imported.digest ?? ""}`));
    }),
  );
  withWorker(leaf(image, "rm <name...>", { description: "remove images" })).action(
    action(done, async (names: readonly string[], options: ImageOptions) => {
      const client = connect(options, { admin: true });
      for (const name of names) await client.images.remove(name, workerOf(options));
      if (options.json) printJson(names);
      else names.forEach(print);
    }),
  );
}

interface ImageOptions extends CommonOptions {
  readonly worker?: string;
}

function withWorker(command: Command): Command {
  return command.option("--worker <worker>", "images of this worker; needed for changes when there are several");
}

function workerOf({ worker }: ImageOptions): { readonly workerId?: string } {
  return worker === undefined ? {} : { workerId: worker };
}

async function archiveOf(from: string): Promise<AsyncIterable<Uint8Array>> {
  if (from === "-") return process.stdin;
  const found = await stat(from).catch((error: NodeJS.ErrnoException) => {
    throw usageError(`${from} cannot be read: ${error.code ?? error.message}.`, "Name a tar archive, a folder, or - for standard input.");
  });
  return found.isDirectory() ? packFolder(from) : createReadStream(from);
}
