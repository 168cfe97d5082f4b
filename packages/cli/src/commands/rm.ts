import { Sandbox, type SandboxInfo } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson rm <id…>`. All are tried; the first failure is told at the end. */
export function addRmCommand(program: Command, done: Done): void {
  leaf(program, "rm <sandbox...>", { description: "destroy sandboxes, with all that is in them" }).action(
    action(done, async (ids: readonly string[], options: CommonOptions) => {
      const client = connect(options);
      const outcomes = await Promise.allSettled(ids.map(async (id) => (await Sandbox.connect(id, { client })).destroy()));
      const ended = outcomes.filter((one): one is PromiseFulfilledResult<SandboxInfo> => one.status === "fulfilled");
      if (options.json) printJson(ended.map((one) => one.value));
      else for (const one of ended) print(one.value.id);
      const failed = outcomes.find((one) => one.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    }),
  );
}
