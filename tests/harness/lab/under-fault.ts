import { loadavg } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { attempt } from "../load/attempt.ts";
import { firstAfter, longestGap } from "../load/ledger.ts";
import { LIGHT_LOAD, Load, type LoadShape } from "../load/load.ts";
import { OwnerWatch } from "../load/owner-watch.ts";
import { contradictions, untilReached, untilShownTrue } from "../load/settle.ts";
import type { Lab } from "./lab.ts";

/** What a fault is, for the one who judges what it did. */
export interface Fault {
  readonly name: string;
  /** Breaks something, waits, and mends it; whatever it finds meanwhile it asserts itself. Further figures are returned. */
  readonly play: (load: Load) => Promise<Readonly<Record<string, number | string>> | void>;
  readonly shape?: LoadShape;
  /** Longest time from its end until what is shown is true, in ms; on a machine so busy that a start takes longer, that time. */
  readonly trueWithinMs: number;
}

/** Longest time that anything needs to go on after a fault, in ms. */
const GOES_ON_MS = 120_000;

/**
 * Puts a lab under load, plays a fault, and holds the installation to its word: nothing that was promised is lost, no sandbox
 * has two owners, streams have every byte once, and what is shown is true again soon. Prints figures.
 */
export async function underFault(lab: Lab, fault: Fault): Promise<void> {
  const watch = new OwnerWatch(lab.workerDirs);
  const load = await Load.start(lab.api, fault.shape ?? spread(lab));
  const { ledger } = load;
  try {
    // Warm: everything has been acknowledged at least once.
    await until(() => ledger.creates.length >= 12 && ledger.execs.length >= 20 && ledger.uploads.length >= 1);
    for (const stream of load.streams) stream.reset();
    const begun = performance.now();
    const before = ledger.live.length;
    const more = (await fault.play(load)) ?? {};
    const healed = performance.now();
    // Each control plane has to show it: the one that was cut off too.
    const within = Math.max(GOES_ON_MS, fault.trueWithinMs);
    const [shownBy, reachedBy] = await Promise.all([
      Promise.all(lab.controls.map((control) => untilShownTrue(control, ledger, within))),
      Promise.all(lab.controls.map((control) => untilReached(control, ledger, within))),
    ]);
    const shown = shownBy.find((one) => typeof one === "string") ?? Math.max(...shownBy.map(Number));
    console.log(
      `${fault.name}: shown true after ${shownBy.map(secondsOr).join(", ")} s, reached after ${reachedBy.map(secondsOr).join(", ")} s`,
    );
    const lines = load.streams.map((stream) => stream.lines);
    await until(() => load.streams.every((stream, i) => stream.lines > (lines[i] ?? 0) + 5));
    await until(() => [ledger.creates, ledger.execs, ledger.uploads].every((all) => firstAfter(all, healed) !== undefined));
    const ended = performance.now();
    await load.stop();
    watch.stop();
    const figures = {
      fault_s: seconds(healed - begun),
      true_after_s: shownBy.map(secondsOr).join(", "),
      every_worker_reached_after_s: reachedBy.map(secondsOr).join(", "),
      create_gap_s: seconds(longestGap(ledger.creates, begun, ended)),
      exec_gap_s: seconds(longestGap(ledger.execs, begun, ended)),
      stream_gap_s: seconds(Math.max(...load.streams.map((stream) => stream.figures.longestMs))),
      stream_breaks: load.streams.reduce((sum, stream) => sum + stream.figures.breaks, 0),
      sandboxes: `${before} before, ${ledger.live.length} after`,
      acknowledged: `${ledger.creates.length} creates, ${ledger.execs.length} runs, ${ledger.uploads.length} uploads`,
      refused: [...ledger.refusals].map(([code, count]) => `${code} ${count}`).join(", "),
      load_average: loadavg().map(Math.round).join(" "),
      ...more,
    };
    console.log(
      `${fault.name}\n${Object.entries(figures)
        .map(([name, value]) => `  ${name}: ${value}`)
        .join("\n")}`,
    );
    const wrong = await contradictions(lab.api, ledger, () => watch.owners());
    if (wrong.length > 0) console.log(wrong.slice(0, 20).join("\n"));
    expect(wrong).toEqual([]);
    expect(watch.violations).toEqual([]);
    expect(reachedBy).toEqual(lab.controls.map(() => expect.any(Number)));
    expect(shown).toEqual(expect.any(Number));
    expect(shown as number).toBeLessThan(Math.max(fault.trueWithinMs, ...lab.controls.map((control) => control.upMs)));
  } catch (error) {
    console.log(`${fault.name} failed: ${String(error)}\nrefused so far: ${JSON.stringify([...ledger.refusals])}\n${lab.report()}`);
    throw error;
  } finally {
    watch.stop();
    await load.abort();
    await lab.restore();
    await removeAll(lab);
  }
}

/** The light load, with a stream and sandboxes on each worker. */
function spread(lab: Lab): LoadShape {
  const ids = lab.workers.map((worker) => worker.id);
  // The first ones have the streams; the others go where they are put.
  const request = (n: number): object => (n < ids.length ? { worker_id: ids[n] } : {});
  return { ...LIGHT_LOAD, streams: ids.length, request };
}

/** Waits in real time for a condition of the load; a deadline ends it. */
export async function until(condition: () => boolean, timeoutMs = GOES_ON_MS): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${condition.toString()}`);
    await sleep(20);
  }
}

/** Lets time pass that the fault itself is made of. */
export function last(ms: number): Promise<void> {
  return sleep(ms);
}

export function seconds(ms: number): number {
  return Math.round(ms / 10) / 100;
}

function secondsOr(shown: number | string): number | string {
  return typeof shown === "number" ? seconds(shown) : shown;
}

async function removeAll(lab: Lab): Promise<void> {
  const page = await attempt<{ items: { id: string }[] }>(lab.api, "GET", "/sandboxes?limit=1000", { timeoutMs: 10_000 });
  const items = page.kind === "done" ? page.body.items : [];
  await Promise.all(items.map(({ id }) => attempt(lab.api, "DELETE", `/sandboxes/${id}`, { timeoutMs: 30_000 })));
}
