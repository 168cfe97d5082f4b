import { Sandbox } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { createRequest, withSandboxOptions, type SandboxOptions } from "../options/sandbox-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson create`: prints the id. */
export function addCreateCommand(program: Command, done: Done): void {
  const command = leaf(program, "create", {
    description: "create a sandbox and print its id",
    examples: ["ID=$(caisson create --ttl 10m)", "caisson create --image debian:12 --memory 1g --metadata team=a"],
  });
  withSandboxOptions(command).action(
    action(done, async (options: SandboxOptions & CommonOptions) => {
      const sandbox = await Sandbox.create(createRequest(options), { client: connect(options) });
      if (options.json) printJson(sandbox.info);
      else print(sandbox.id);
    }),
  );
}
