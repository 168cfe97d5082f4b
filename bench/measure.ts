import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";

/** Times of one thing measured, in ms. */
export interface Series {
  readonly name: string;
  readonly times: number[];
}

export const series = (name: string): Series => ({ name, times: [] });

/** The value below which a part `q` of the times lies. */
export function quantile(times: readonly number[], q: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}

export const median = (times: readonly number[]): number => quantile(times, 0.5);

/** Runs something and notes how long it took. */
export async function timed(into: Series, run: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await run();
  into.times.push(performance.now() - start);
}

/** A table of times, with the ratio of each median to that of the first. */
export function report(title: string, base: Series, others: readonly Series[]): void {
  console.log(`\n${title}`);
  console.log(`  ${"".padEnd(42)} ${"p50 ms".padStart(9)} ${"p99 ms".padStart(9)} ${"min ms".padStart(9)} ${"ratio".padStart(7)}`);
  for (const one of [base, ...others]) {
    if (one.times.length === 0) continue;
    const cells = [median(one.times), quantile(one.times, 0.99), Math.min(...one.times)].map((ms) => ms.toFixed(2).padStart(9));
    const ratio = one === base ? "1" : (median(one.times) / median(base.times)).toFixed(2);
    console.log(`  ${one.name.padEnd(42)} ${cells.join(" ")} ${ratio.padStart(7)}`);
  }
}

/** Flows of bytes: wall time and our CPU time of each run. */
export interface Flow extends Series {
  /** CPU time of the server and of what runs in its sandboxes, in ms. */
  readonly cpu: number[];
}

export const flow = (name: string): Flow => ({ name, times: [], cpu: [] });

/** A table of speeds, with the ratio of each to the first: 1 is as fast, 0.5 half as fast. */
export function reportFlows(title: string, bytes: number, base: Flow, others: readonly Flow[]): void {
  console.log(`\n${title}`);
  console.log(`  ${"".padEnd(42)} ${"MB/s".padStart(9)} ${"best MB/s".padStart(9)} ${"CPU ms/MB".padStart(9)} ${"ratio".padStart(7)}`);
  const speed = (ms: number): string => (bytes / ms / 1000).toFixed(0).padStart(9);
  for (const one of [base, ...others]) {
    const cpu = one.cpu.length === 0 ? "-" : ((median(one.cpu) * 1e6) / bytes).toFixed(2);
    const ratio = one === base ? "1" : (median(base.times) / median(one.times)).toFixed(2);
    console.log(
      `  ${one.name.padEnd(42)} ${speed(median(one.times))} ${speed(Math.min(...one.times))} ${cpu.padStart(9)} ${ratio.padStart(7)}`,
    );
  }
}

/** Runs a program to its end, its output read and counted; fails when it failed. */
export async function bare(command: string, args: readonly string[], stdin?: AsyncIterable<Uint8Array>): Promise<number> {
  const child = spawn(command, args, { stdio: [stdin === undefined ? "ignore" : "pipe", "pipe", "inherit"] });
  let bytes = 0;
  child.stdout?.on("data", (chunk: Buffer) => (bytes += chunk.length));
  const closed = once(child, "close") as Promise<[number | null]>;
  if (stdin !== undefined && child.stdin !== null) {
    for await (const chunk of stdin) if (!child.stdin.write(chunk)) await once(child.stdin, "drain");
    child.stdin.end();
  }
  const [code] = await closed;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${code}`);
  return bytes;
}

/** CPU time of a process and its threads so far, in ms; 0 when it has ended. */
export function cpuMs(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10;
  } catch {
    return 0;
  }
}

/** The machine's load over the last minute. */
export const load = (): string => readFileSync("/proc/loadavg", "utf8").split(" ", 1)[0] ?? "?";
