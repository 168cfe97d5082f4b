import { isCaissonError, type Config } from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";
import { pino, type DestinationStream, type Logger } from "pino";
import { bold, cyan, dim, red, yellow } from "yoctocolors";
import { printable } from "../terminal/printable.ts";

/** The server's log, on standard error: JSON, or lines for people on a terminal. */
export function createLogger(config: Config["logging"]): Logger {
  const pretty = config.format === "pretty" || (config.format === "auto" && process.stderr.isTTY === true);
  const options = {
    level: config.level,
    base: null,
    serializers: { err: toldError },
    redact: { paths: ["*.api_key", "*.authorization", "*.env", "*.stdin"], censor: "(hidden)" },
  };
  return pino(options, pretty ? prettyStream : pino.destination({ dest: 2, sync: true }));
}

/** An error as the log has it: with its stack where nobody expected it. What we say ourselves of a database or a worker is enough. */
function toldError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if (!isCaissonError(error) || error.code === "internal") return pino.stdSerializers.err(error);
  const { cause, code, message } = error;
  return { type: error.name, code, message: cause instanceof Error && cause.message !== message ? `${message} ${cause.message}` : message };
}

/** The log as providers and the worker see it. */
export function logFunction(logger: Logger): ProviderContext["log"] {
  return (level, message, fields) => logger[level](fields ?? {}, message);
}

const LEVELS: Readonly<Record<number, string>> = {
  10: dim("trace"),
  20: dim("debug"),
  30: cyan("info "),
  40: yellow("warn "),
  50: red("error"),
  60: bold(red("fatal")),
};

const prettyStream: DestinationStream = {
  write: (line) => {
    const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
    const clock = new Date(Number(time)).toISOString().slice(11, 23);
    const rest = Object.entries(fields).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    process.stderr.write(
      `${dim(clock)} ${LEVELS[Number(level)] ?? String(level)} ${typeof msg === "string" ? printable(msg) : ""} ${dim(printable(rest.join(" ")))}\n`,
    );
    const { message, stack } = (err ?? {}) as { readonly message?: unknown; readonly stack?: unknown };
    const told = typeof stack === "string" ? stack : message;
    if (typeof told === "string")
      process.stderr.write(
        `${told
          .split("\n")
          .map((line) => dim(printable(line)))
          .join("\n")}\n`,
      );
  },
};
