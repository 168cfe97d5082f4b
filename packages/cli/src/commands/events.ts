import type { EventOrGap } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { parseWhole } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable } from "../terminal/printable.ts";
import { dim } from "../terminal/style.ts";
import { print, printJsonLine } from "../terminal/write-out.ts";

interface EventsOptions extends CommonOptions {
  readonly follow?: true;
  readonly after?: number;
  readonly lines: number;
  readonly sandbox?: string;
  readonly type?: string;
}

/** `caisson events`: what happened, and what happens. */
export function addEventsCommand(program: Command, done: Done): void {
  leaf(program, "events", {
    description: "show what happened to sandboxes, their processes and ports, images and webhooks",
    examples: ["caisson events -f", "caisson events -f --type process.exited,sandbox.*", "caisson events --sandbox $ID -n 20"],
  })
    .option("-f, --follow", "go on with what happens from now on")
    .option("-n, --lines <number>", "how many of the last events, at most 1000", parseWhole, 100)
    .option("--after <seq>", "all events after this one, instead of the last ones", parseWhole)
    .option("--sandbox <sandbox>", "only those of this sandbox and of what is in it")
    .option("--type <types>", "only these types, comma separated; sandbox.* is all of a kind")
    .action(action(done, events));
}

async function events(options: EventsOptions): Promise<number | void> {
  const client = connect(options);
  const filter = { sandboxId: options.sandbox, types: options.type?.split(",") };
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  let after = options.after;
  try {
    if (after !== undefined && !options.follow) {
      for (;;) {
        const page = await client.events.list({ ...filter, after, limit: 1000, signal });
        for (const event of page) show(event, options);
        after = page.at(-1)?.seq ?? after;
        if (page.length < 1000) return;
      }
    }
    if (after === undefined) {
      // What happens after this moment is followed, what happened before it is listed: nothing falls between the two.
      after = (await client.events.list({ before: Number.MAX_SAFE_INTEGER, limit: 1, signal })).at(-1)?.seq ?? 0;
      const limit = Math.min(options.lines, 1000);
      if (limit > 0) for (const event of await client.events.list({ ...filter, before: after + 1, limit, signal })) show(event, options);
    }
    if (!options.follow) return;
    for await (const event of client.events.stream({ ...filter, after, signal })) show(event, options);
  } catch (error) {
    return exitOfInterruption(error);
  }
}

function show(event: EventOrGap, options: EventsOptions): void {
  if (options.json) return printJsonLine(event);
  if (event.type === "gap") return print(dim(`… events ${event.from} to ${event.to - 1} are no longer kept`));
  const where = event.sandbox_id === null || event.sandbox_id === event.resource_id ? "" : ` of ${event.sandbox_id}`;
  const data = Object.keys(event.data).length === 0 ? "" : ` ${JSON.stringify(event.data)}`;
  print(`${event.at} ${String(event.seq).padStart(6)} ${event.type.padEnd(18)} ${printable(`${event.resource_id}${where}${data}`, 200)}`);
}
