import { Sandbox, type Caisson, type SandboxInfo } from "@caisson/sdk";
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
  readonly worker?: string;
}

/** `caisson ls`: all sandboxes. */
export function addLsCommand(program: Command, done: Done): void {
  leaf(program, "ls", { description: "list sandboxes", examples: ["caisson ls --metadata team=a", "caisson rm $(caisson ls -q)"] })
    .option("-a, --all", "also those that have ended")
    .option("-q, --quiet", "only ids")
    .option("--state <states>", "only these states, comma separated")
    .option("--metadata <key=value>", "only those with this label; repeatable", collectPair)
    .option("--worker <worker>", "only those of this worker")
    .action(action(done, ls));
}

async function ls(options: LsOptions): Promise<void> {
  const state = options.all ? ("all" as const) : (options.state as SandboxInfo["state"] | undefined);
  const client = connect(options);
  const found: SandboxInfo[] = [];
  const query = { client, state, metadata: options.metadata, workerId: options.worker };
  for await (const sandbox of Sandbox.list(query)) found.push(sandbox.info);
  if (options.json) return printJson(found);
  if (options.quiet) return found.forEach((sandbox) => print(sandbox.id));
  if (found.length === 0) return print("No sandboxes. Create one with: caisson create");
  const several = await hasSeveralWorkers(client, found);
  printTable(
    ["ID", "STATE", ...(several ? ["WORKER"] : []), "IMAGE", "PROVIDER", "AGE", "ENDS"],
    found.map((sandbox) => [
      sandbox.id,
      sandbox.state,
      ...(several ? [sandbox.worker_id] : []),
      sandbox.image,
      sandbox.runtime === null ? sandbox.provider : `${sandbox.provider}/${sandbox.runtime}`,
      distance(sandbox.created_at),
      sandbox.ended_at === null ? `in ${distance(sandbox.expires_at)}` : `${distance(sandbox.ended_at)} ago`,
    ]),
  );
}

/** Whether it is worth saying where each is. */
async function hasSeveralWorkers(client: Caisson, found: readonly SandboxInfo[]): Promise<boolean> {
  if (new Set(found.map((sandbox) => sandbox.worker_id)).size > 1) return true;
  let workers = 0;
  for await (const _ of client.workers.list({ pageSize: 2 })) if (++workers > 1) return true;
  return false;
}
