import { createHash } from "node:crypto";
import { setImmediate as turn } from "node:timers/promises";
import { fileSource } from "./file-streams.ts";
import { absolute, put, readAll, type ByteSource, type CommandCall, type MockCommand } from "./shell-state.ts";

function sources({ args, io, state }: CommandCall): ByteSource[] {
  return args.length === 0 ? [io.stdin] : args.map((arg) => (arg === "-" ? io.stdin : fileSource(state, absolute(state, arg))));
}

async function cat(call: CommandCall): Promise<number> {
  for (const source of sources(call))
    for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) await put(call.io.stdout, bytes);
  return 0;
}

async function echo({ args, io }: CommandCall): Promise<number> {
  const bare = args[0] === "-n";
  await put(io.stdout, args.slice(bare ? 1 : 0).join(" ") + (bare ? "" : "\n"));
  return 0;
}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", "\\": "\\", '"': '"', a: "\x07", b: "\b", f: "\f", v: "\v" };

/** Text with backslash escapes resolved; each character is one byte. */
function unescape(text: string): string {
  return Buffer.from(text)
    .toString("latin1")
    .replace(/\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))/gs, (whole, octal?: string, hex?: string, char?: string) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      return ESCAPES[char ?? ""] ?? whole;
    });
}

async function printf({ args, io }: CommandCall): Promise<number> {
  const [format = "", ...values] = args;
  const rest = values.map((value) => Buffer.from(value).toString("latin1"));
  let out = "";
  do {
    out += unescape(format).replace(
      /%(?:%|(-?)(0?)(\d*)([sdxobi]))/g,
      (whole, left?: string, zero?: string, width?: string, kind?: string) => {
        if (whole === "%%") return "%";
        const value = rest.shift() ?? "";
        const text =
          kind === "s" ? value : kind === "b" ? unescape(value) : Number(value || 0).toString(kind === "x" ? 16 : kind === "o" ? 8 : 10);
        const size = Number(width ?? 0);
        return left === "-" ? text.padEnd(size) : text.padStart(size, zero === "0" ? "0" : " ");
      },
    );
  } while (rest.length > 0 && /%[^%]/.test(format));
  await put(io.stdout, Buffer.from(out, "latin1"));
  return 0;
}

async function seq({ args, io }: CommandCall): Promise<number> {
  const numbers = args.map(Number);
  const [first, step, last] = numbers.length === 1 ? [1, 1, numbers[0]] : numbers.length === 2 ? [numbers[0], 1, numbers[1]] : numbers;
  if (first === undefined || step === undefined || last === undefined || step === 0 || numbers.some(Number.isNaN)) return 1;
  let text = "";
  for (let n = first; step > 0 ? n <= last : n >= last; n += step) {
    text += `${n}\n`;
    if (text.length < 8192) continue;
    await put(io.stdout, text);
    text = "";
  }
  await put(io.stdout, text);
  return 0;
}

async function yes({ args, io, state }: CommandCall): Promise<number> {
  const block = Buffer.from(`${args.join(" ") || "y"}\n`.repeat(1024));
  for (;;) {
    state.process.killed.throwIfAborted();
    await put(io.stdout, block);
    // A reader that takes everything at once must not starve the rest of this process.
    await turn();
  }
}

async function head(call: CommandCall): Promise<number> {
  const { args, io } = call;
  let unit = "n";
  let count = 10;
  let at = 0;
  for (; args[at]?.startsWith("-") === true && args[at] !== "-"; at++) {
    const match = /^-(n|c)?(\d*)$/.exec(args[at] as string);
    if (match === null) return 1;
    unit = match[1] ?? "n";
    count = Number(match[2] !== "" ? match[2] : args[++at]);
  }
  for (const source of sources({ ...call, args: args.slice(at) })) {
    let left = count;
    for (
      let bytes = left > 0 ? await source.read() : undefined;
      bytes !== undefined && left > 0;
      bytes = left > 0 ? await source.read() : undefined
    ) {
      let take = Math.min(left, bytes.length);
      if (unit === "c") left -= take;
      else for (take = 0; take < bytes.length && left > 0; take++) if (bytes[take] === 10) left--;
      await put(io.stdout, bytes.subarray(0, take));
      source.unread(bytes.subarray(take));
    }
  }
  return 0;
}

async function wc(call: CommandCall): Promise<number> {
  const [flag] = call.args;
  const rest = { ...call, args: call.args.filter((arg) => !arg.startsWith("-")) };
  let lines = 0;
  let size = 0;
  for (const source of sources(rest))
    for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) {
      size += bytes.length;
      for (const byte of bytes) if (byte === 10) lines++;
    }
  await put(call.io.stdout, `${flag === "-l" ? lines : size}\n`);
  return 0;
}

async function tr({ args, io }: CommandCall): Promise<number> {
  const [from = "", to = ""] = args.map(unescape);
  const text = (await readAll(io.stdin)).toString("latin1");
  const out = Array.from(text, (char) => (from.includes(char) ? (to[from.indexOf(char)] ?? to.at(-1) ?? "") : char)).join("");
  await put(io.stdout, Buffer.from(out, "latin1"));
  return 0;
}

async function sha256sum(call: CommandCall): Promise<number> {
  const hash = createHash("sha256");
  for (const source of sources(call))
    for (let bytes = await source.read(); bytes !== undefined; bytes = await source.read()) hash.update(bytes);
  await put(call.io.stdout, `${hash.digest("hex")}  ${call.args[0] ?? "-"}\n`);
  return 0;
}

/** Commands about text and bytes. */
export const TEXT_COMMANDS: readonly (readonly [string, MockCommand])[] = [
  ["cat", cat],
  ["echo", echo],
  ["printf", printf],
  ["seq", seq],
  ["yes", yes],
  ["head", head],
  ["wc", wc],
  ["tr", tr],
  ["sha256sum", sha256sum],
];
