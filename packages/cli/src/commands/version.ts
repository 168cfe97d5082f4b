import { VERSION } from "@caisson/contract";
import type { Command } from "commander";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson version`. */
export function addVersionCommand(program: Command, done: Done): void {
  leaf(program, "version", { serverless: true, description: "print the version" }).action(
    action(done, async (options: CommonOptions) => {
      if (options.json) printJson({ version: VERSION, node: process.versions.node, platform: `${process.platform}-${process.arch}` });
      else print(`caisson ${VERSION} (node ${process.versions.node}, ${process.platform}-${process.arch})`);
    }),
  );
}
