import type { Command } from "commander";
import { findServer } from "../client/connect.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson env`: what curl and the SDK need, for a shell to take over. */
export function addEnvCommand(program: Command, done: Done): void {
  leaf(program, "env", {
    description: "print the server's address and key as shell variables",
    examples: [`eval "$(caisson env)"`],
  }).action(
    action(done, async (options: CommonOptions) => {
      const { url, apiKey } = findServer(options);
      if (apiKey === undefined) {
        throw usageError("No API key is known here.", "Run this as the user who runs the server, or set CAISSON_API_KEY.");
      }
      if (options.json) return printJson({ CAISSON_URL: url, CAISSON_API_KEY: apiKey });
      print(`export CAISSON_URL=${quote(url)}`);
      print(`export CAISSON_API_KEY=${quote(apiKey)}`);
    }),
  );
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
