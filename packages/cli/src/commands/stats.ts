import { Sandbox, type SandboxStats } from "@caisson/sdk";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { checkDuration } from "../options/parse-options.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printTable } from "../terminal/table.ts";
import { print, printJson } from "../terminal/write-out.ts";

interface StatsOptions extends CommonOptions {
  readonly follow?: true;
  readonly interval: string;
}

const TITLES = ["CPU", "MEMORY", "LIMIT", "PROCESSES", "DISK FREE", "NET IN", "NET OUT"];
const MEBIBYTE = 1_048_576;
/** Time between the two samples of one answer: shorter ones say little of the processors. */
const BETWEEN = "500ms";

/** `caisson stats <id>`: what a sandbox uses. */
export function addStatsCommand(program: Command, done: Done): void {
  leaf(program, "stats <sandbox>", {
    description: "show what a sandbox uses; a whole processor is 100 %",
    examples: ["caisson stats $ID", "caisson stats -f --interval 2s $ID"],
  })
    .option("-f, --follow", "again and again, until the sandbox ends")
    .option("--interval <duration>", "time between two lines", checkDuration, "1s")
    .action(action(done, stats));
}

async function stats(id: string, options: StatsOptions): Promise<number | void> {
  using interrupt = new Interrupt();
  const { signal } = interrupt;
  try {
    const sandbox = await Sandbox.connect(id, { client: connect(options), signal });
    const interval = options.follow ? options.interval : BETWEEN;
    let first = true;
    for await (const sample of sandbox.statsStream({ interval, signal })) {
      // The first has no earlier one to tell the use of processors from.
      if (sample.cpu.percent === null) continue;
      if (options.json) printJson(sample);
      else if (first) printTable(TITLES, [row(sample)]);
      else print(line(row(sample)));
      first = false;
      if (!options.follow) return;
    }
  } catch (error) {
    return exitOfInterruption(error);
  }
}

function row({ cpu, memory, processes, disk, network }: SandboxStats): string[] {
  return [
    `${cpu.percent?.toFixed(1) ?? "-"} %`,
    bytes(memory.used_bytes),
    memory.limit_bytes === null ? "none" : bytes(memory.limit_bytes),
    String(processes),
    bytes(disk.free_bytes),
    bytes(network.rx_bytes),
    bytes(network.tx_bytes),
  ].map((cell, i) => cell.padEnd(WIDTHS[i] ?? 0));
}

/** Widths that hold what comes later too. */
const WIDTHS = [8, 11, 11, 9, 13, 11, 11];

function line(cells: readonly string[]): string {
  return cells.join("  ").trimEnd();
}

function bytes(count: number): string {
  return `${(count / MEBIBYTE).toFixed(1)} MiB`;
}
