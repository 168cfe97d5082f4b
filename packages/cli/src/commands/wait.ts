import { Sandbox, type Process } from "@caisson/sdk";
import { parseDuration } from "@caisson/contract";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { checkDuration, parseWhole } from "../options/parse-options.ts";
import { OWN_FAILURE } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printJson } from "../terminal/write-out.ts";

/** Exit code when the time has passed first, as `timeout` of coreutils has it. */
const TIMED_OUT = 124;

/** Longest wait of a timer, in ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** `caisson wait <id> <process>`: the exit code of a process. */
export function addWaitCommand(program: Command, done: Done): void {
  leaf(program, "wait", {
    description: "wait for a process of a sandbox and end with its exit code",
    failureExit: OWN_FAILURE,
    examples: ["P=$(caisson exec -d $ID -- make) && caisson wait $ID $P", "caisson wait --timeout 5m $ID 3 || echo failed"],
  })
    .argument("<sandbox>", "id")
    .argument("<process>", "its number in `caisson ps`", parseWhole)
    .option("--timeout <duration>", "end with 124 when it still runs after this time", checkDuration)
    .action(action(done, wait, OWN_FAILURE));
}

async function wait(id: string, processId: number, options: CommonOptions & { readonly timeout?: string }): Promise<number> {
  using interrupt = new Interrupt();
  const late = options.timeout === undefined ? undefined : AbortSignal.timeout(Math.min(MAX_TIMER_MS, parseDuration(options.timeout) ?? 0));
  const signal = late === undefined ? interrupt.signal : AbortSignal.any([interrupt.signal, late]);
  let found: Process;
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options) });
    found = await sandbox.processes.wait(processId, { signal });
  } catch (error) {
    if (late?.aborted !== true || error !== late.reason) return exitOfInterruption(error);
    process.stderr.write(`caisson: process ${processId} still runs\n`);
    return TIMED_OUT;
  }
  if (options.json) printJson(found);
  return found.exit?.exit_code ?? OWN_FAILURE;
}
