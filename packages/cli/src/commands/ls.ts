import { Sandbox, type SandboxInfo } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { collectPair } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printTable } from "../terminal/table.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface LsOptions extends CommonOptions {
  readonly all?: true;
  readonly quiet?: true;
  readonly state?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** `caisson ls`: all sandboxes. */
export function addLsCommand(program: Command, done: Done): void {
  leaf(program, "ls", { description: "list sandboxes", examples: ["caisson ls --metadata team=a", "caisson rm $(caisson ls -q)"] })
    .option("-a, --all", "also those that have ended")
    .option("-q, --quiet", "only ids")
    .option("--state <states>", "only these states, comma separated")
    .option("--metadata <key=value>", "only those with this label; repeatable", collectPair)
    .action(action(done, ls));
}

async function ls(options: LsOptions): Promise<void> {
  const state = options.all ? "all" : (options.state as SandboxInfo["state"] | undefined);
  const found: SandboxInfo[] = [];
  for await (const sandbox of Sandbox.list({ client: connect(options), state, metadata: options.metadata })) found.push(sandbox.info);
  if (options.json) return printJson(found);
  if (options.quiet) return found.forEach((sandbox) => print(sandbox.id));
  if (found.length === 0) return print("No sandboxes. Create one with: caisson create");
  printTable(
    ["ID", "STATE", "IMAGE", "PROVIDER", "AGE", "ENDS"],
    found.map((sandbox) => [
      sandbox.id,
      sandbox.state,
      sandbox.image,
      sandbox.runtime === null ? sandbox.provider : `${sandbox.provider}/${sandbox.runtime}`,
      distance(sandbox.created_at),
      sandbox.ended_at === null ? `in ${distance(sandbox.expires_at)}` : `${distance(sandbox.ended_at)} ago`,
    ]),
  );
}
