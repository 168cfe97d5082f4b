import { Killed, ExitShell, put, type CommandCall, type MockCommand } from "./shell-state.ts";
import { signalName } from "./mock-signal.ts";

async function sleep({ args, io, state }: CommandCall): Promise<number> {
  const seconds = Number(args[0] ?? "");
  if (args.length !== 1 || Number.isNaN(seconds) || seconds < 0) {
    await put(io.stderr, "sleep: invalid time interval\n");
    return 1;
  }
  await state.clock.sleep(seconds * 1000, state.process.killed);
  return 0;
}

function exit({ args, state }: CommandCall): never {
  throw new ExitShell((args[0] === undefined ? state.status : Number(args[0])) & 0xff);
}

/** Ends badly on purpose: `fail [code] [message…]`. */
async function fail({ args, io }: CommandCall): Promise<number> {
  const [code = "1", ...message] = args;
  await put(io.stderr, `${message.join(" ") || "failed on purpose"}\n`);
  return Number(code) & 0xff;
}

async function kill({ args, io, state }: CommandCall): Promise<number> {
  let signal: string | undefined = "TERM";
  let pids = args;
  if (args[0] === "-s") {
    signal = signalName(args[1] ?? "");
    pids = args.slice(2);
  } else if (args[0]?.startsWith("-") === true) {
    signal = signalName(args[0].slice(1));
    pids = args.slice(1);
  }
  if (signal === undefined) return 1;
  let status = 0;
  for (const pid of pids.map(Number)) {
    if (state.process.kill(pid, signal)) continue;
    await put(io.stderr, `kill: ${pid}: No such process\n`);
    status = 1;
  }
  if (state.process.killed.aborted) throw new Killed(signal);
  return status;
}

function trap({ args, state }: CommandCall): number {
  const [action, ...signals] = args;
  if (action !== "") return 1;
  for (const text of signals) {
    const signal = signalName(text);
    if (signal !== undefined) state.process.ignore(signal);
  }
  return 0;
}

async function env({ args, io, state, run }: CommandCall): Promise<number> {
  let at = 0;
  for (; args[at]?.includes("=") === true; at++) {
    const [name = "", ...value] = (args[at] as string).split("=");
    state.env.set(name, value.join("="));
  }
  if (at < args.length) return run(args.slice(at));
  await put(io.stdout, [...state.env].map(([name, value]) => `${name}=${value}\n`).join(""));
  return 0;
}

async function printenv({ args, io, state }: CommandCall): Promise<number> {
  const value = state.env.get(args[0] ?? "");
  if (value === undefined) return 1;
  await put(io.stdout, `${value}\n`);
  return 0;
}

function exportVariable({ args, state }: CommandCall): number {
  for (const arg of args) {
    const [name = "", ...value] = arg.split("=");
    if (arg.includes("=")) state.env.set(name, value.join("="));
  }
  return 0;
}

function unset({ args, state }: CommandCall): number {
  for (const name of args) state.env.delete(name);
  return 0;
}

async function id({ args, io, state }: CommandCall): Promise<number> {
  const { uid, gid, name } = state.user;
  const texts: Record<string, string> = { "-u": String(uid), "-g": String(gid), "-un": name };
  await put(io.stdout, `${texts[args[0] ?? ""] ?? `uid=${uid}(${name}) gid=${gid}(${name})`}\n`);
  return 0;
}

async function whoami({ io, state }: CommandCall): Promise<number> {
  await put(io.stdout, `${state.user.name}\n`);
  return 0;
}

async function hostname({ io, state }: CommandCall): Promise<number> {
  await put(io.stdout, `${state.hostname}\n`);
  return 0;
}

/** Commands about processes, users and the environment. */
export const PROCESS_COMMANDS: readonly (readonly [string, MockCommand])[] = [
  ["true", () => 0],
  [":", () => 0],
  ["false", () => 1],
  ["sleep", sleep],
  ["exit", exit],
  ["fail", fail],
  ["kill", kill],
  ["trap", trap],
  ["env", env],
  ["printenv", printenv],
  ["export", exportVariable],
  ["unset", unset],
  ["id", id],
  ["whoami", whoami],
  ["hostname", hostname],
  ["exec", ({ args, run }) => run(args)],
];
