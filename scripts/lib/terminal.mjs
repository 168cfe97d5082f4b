// Progress of the bootstrap scripts. Plain Node built-ins only: these run before anything is installed.
import { spawn } from "node:child_process";
import process from "node:process";

const colours = process.stderr.isTTY === true && !process.env.NO_COLOR;
const paint = (code, text) => (colours ? `\u001b[${code}m${text}\u001b[0m` : text);

/** Text styles that fall away where there is no terminal. */
export const dim = (text) => paint("2", text);
export const green = (text) => paint("32", text);
export const red = (text) => paint("31", text);
export const yellow = (text) => paint("33", text);
export const bold = (text) => paint("1", text);

/** Writes one line of progress; standard output stays free for what a command answers. */
export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Milliseconds for people: `0.4 s`, `1 min 12 s`. */
export function seconds(ms) {
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** A failure whose message is meant for the user, with the way out. */
export class StepFailed extends Error {
  /** @param {string} message @param {string} [remedy] */
  constructor(message, remedy) {
    super(message);
    this.remedy = remedy;
  }
}

/**
 * Does one piece of work, telling what it is and how long it took.
 * @template T @param {string} title @param {() => Promise<T>} work @returns {Promise<T>}
 */
export async function step(title, work) {
  const begin = Date.now();
  say(`${bold("▸")} ${title}`);
  try {
    const result = await work();
    say(`${green("✓")} ${title} ${dim(seconds(Date.now() - begin))}`);
    return result;
  } catch (error) {
    say(`${red("✗")} ${title} ${dim(seconds(Date.now() - begin))}`);
    throw error;
  }
}

/**
 * Runs a program. Its output is kept and shown when it fails; meanwhile its last line (on a terminal) or the time that has
 * passed (elsewhere, every 15 s) shows that it works.
 * @param {string} program @param {readonly string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} [options] @returns {Promise<string>}
 */
export function run(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const begin = Date.now();
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const live = process.stderr.isTTY === true;
    const take = (chunk) => {
      output = (output + chunk).slice(-200_000);
      if (!live) return;
      const line =
        output
          .trimEnd()
          .split(/[\r\n]/)
          .at(-1) ?? "";
      process.stderr.write(`\r\u001b[2K  ${dim(line.slice(0, (process.stderr.columns ?? 80) - 4))}`);
    };
    const clear = () => live && process.stderr.write("\r\u001b[2K");
    const beat = setInterval(() => !live && say(dim(`  … ${seconds(Date.now() - begin)}`)), 15_000);
    child.stdout.setEncoding("utf8").on("data", take);
    child.stderr.setEncoding("utf8").on("data", take);
    child.on("error", (error) => {
      clearInterval(beat);
      reject(new StepFailed(`${program} could not be run: ${error.message}`));
    });
    child.on("close", (code, signal) => {
      clearInterval(beat);
      clear();
      if (code === 0) return resolve(output);
      say(output.trimEnd());
      reject(new StepFailed(`${program} ${args.join(" ")} ended with ${signal ?? code}`));
    });
  });
}

/**
 * Runs a program with this process's own terminal.
 * @param {string} program @param {readonly string[]} args
 * @param {{cwd?: string, env?: NodeJS.ProcessEnv}} [options] @returns {Promise<number>} its exit code, 128 + n for signal n
 */
export function runAttached(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: "inherit" });
    const forward = (signal) => child.kill(signal);
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const signal of signals) process.on(signal, forward);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      for (const name of signals) process.off(name, forward);
      resolve(signal === null ? (code ?? 1) : 128 + (osSignals[signal] ?? 0));
    });
  });
}

const osSignals = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGSEGV: 11, SIGPIPE: 13, SIGTERM: 15, SIGABRT: 6 };

/** Runs a script's main function: failures become two lines and an exit code. */
export async function main(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    say(`${red("error:")} ${error.message}`);
    if (error.remedy !== undefined) say(`  ${error.remedy}`);
    process.exitCode = 1;
  }
}
