import { printable } from "./printable.ts";

/** Time between two drawings, in ms. */
const EVERY_MS = 100;
/** Time over which the rate is taken, in ms. */
const WINDOW_MS = 3_000;
/** Characters of what is transferred that are shown. */
const LABEL = 40;

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** An amount of bytes for people: `12.3 MiB`. */
export function formatBytes(bytes: number): string {
  let unit = 0;
  let amount = bytes;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? amount : amount.toFixed(1)} ${UNITS[unit]}`;
}

/** What a drawing shows. */
interface Sample {
  readonly at: number;
  readonly bytes: number;
}

/** How far a transfer is, on standard error, where that is a terminal: bytes, rate, and the time left. Draws nothing elsewhere. */
export class Progress implements Disposable {
  readonly #label: string;
  readonly #total: number | undefined;
  readonly #shown: boolean;
  readonly #samples: Sample[] = [];
  #bytes = 0;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(label: string, total: number | undefined, options: { readonly json?: true }) {
    this.#label = label;
    this.#total = total;
    this.#shown = process.stderr.isTTY && options.json !== true;
  }

  /** Takes note that so many bytes have been transferred in all. */
  reach(bytes: number): void {
    this.#bytes = bytes;
    const now = performance.now();
    if (!this.#shown || now - this.#drawnAt < EVERY_MS) return;
    this.#drawnAt = now;
    this.#samples.push({ at: now, bytes });
    while ((this.#samples[0]?.at ?? now) < now - WINDOW_MS) this.#samples.shift();
    process.stderr.write(`\r\u001b[K${describeProgress(printable(this.#label, LABEL), bytes, this.#total, rateOf(this.#samples))}`);
  }

  /** The same, by how many more. */
  add(bytes: number): void {
    this.reach(this.#bytes + bytes);
  }

  /** Takes the line away. */
  [Symbol.dispose](): void {
    if (this.#shown && this.#drawnAt > 0) process.stderr.write("\r\u001b[K");
  }
}

/** One line of progress; `rate` in bytes per second. */
export function describeProgress(label: string, bytes: number, total: number | undefined, rate: number | undefined): string {
  const parts = [total === undefined ? formatBytes(bytes) : `${formatBytes(bytes)} of ${formatBytes(total)}`];
  if (total !== undefined && total > 0) parts.push(`${Math.floor((bytes / total) * 100)} %`);
  if (rate !== undefined && rate > 0) {
    parts.push(`${formatBytes(Math.round(rate))}/s`);
    if (total !== undefined && total > bytes) parts.push(`${formatLeft((total - bytes) / rate)} left`);
  }
  return `${label}  ${parts.join("  ")}`;
}

function rateOf(samples: readonly Sample[]): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last.at - first.at < EVERY_MS) return undefined;
  return ((last.bytes - first.bytes) / (last.at - first.at)) * 1000;
}

function formatLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  return `${Math.floor(whole / 3600)}h${Math.floor((whole % 3600) / 60)}m`;
}
