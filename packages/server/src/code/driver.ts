import { readFileSync } from "node:fs";
import { CaissonError, type CodeLanguage } from "@caisson/contract";
import { quoteShellWord } from "../exec/shell-quote.ts";

/** Code to run, and what is set before it runs. */
export interface CodeRequest {
  readonly code: string;
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly workdir?: string | undefined;
}

/** How contexts of one language are started and spoken to. Every request is one line; half a line does nothing. */
export interface Driver {
  /** Program and arguments of a context. */
  readonly argv: readonly string[];
  /** What must be installed. */
  readonly needs: string;
  /** Asks for the number of the turn; answered when the context is idle. */
  ask(id: string): string;
  /** Runs code if the turn is still this one. */
  run(id: string, turn: number, request: CodeRequest): string;
  /** Asks, after an interrupt, for the end of code that was left half-way; undefined where that tells itself. */
  end(id: string): string | undefined;
}

function source(name: string): string {
  return readFileSync(new URL(`drivers/${name}`, import.meta.url), "utf8");
}

const json = {
  ask: (id: string) => `${JSON.stringify({ op: "ask", id })}\n`,
  run: (id: string, turn: number, request: CodeRequest) => `${JSON.stringify({ op: "run", id, turn, ...request })}\n`,
  end: () => undefined,
};

/** Starts an interactive shell whose first commands are the driver; bash where it is installed. */
const SHELL_START = [
  'if command -v bash >/dev/null 2>&1; then exec bash --noprofile --noediting --rcfile /dev/fd/7 -i 7<<"--driver--"',
  "DRIVER--driver--",
  'else ENV=/dev/fd/7; export ENV; exec sh -i 7<<"--driver--"',
  "DRIVER--driver--",
  "fi",
].join("\n");

/** Drivers by language. */
export const DRIVERS: Readonly<Record<CodeLanguage, Driver>> = {
  python: { argv: ["python3", "-c", source("python-driver.py")], needs: "python3", ...json },
  javascript: {
    // Its own descriptors, so that the code's are the usual ones.
    argv: ["/bin/sh", "-c", 'exec node -e "$0" 3<&0 4>&1 5>&2 </dev/null', source("node-driver.js")],
    needs: "node",
    ...json,
  },
  shell: {
    argv: ["/bin/sh", "-c", SHELL_START.replaceAll("DRIVER", () => source("shell-driver.sh"))],
    needs: "sh",
    ask: (id) => `__caisson_ask ${id} .\n`,
    run: (id, turn, request) => `__caisson_run ${id} ${turn} ${shellWord(shellCode(request))} .\n`,
    end: (id) => `__caisson_end ${id} .\n`,
  },
};

function shellCode({ code, env = {}, workdir }: CodeRequest): string {
  const before: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (!/^[A-Za-z_]\w*$/.test(name)) {
      const message = "is not a name that a shell takes for a variable";
      throw new CaissonError("invalid_request", `The variable ${name} ${message}.`, { errors: [{ path: `env.${name}`, message }] });
    }
    before.push(`export ${name}=${quoteShellWord(value)}`);
  }
  if (code.includes("\0")) throw new CaissonError("invalid_request", "Shell code must not contain a NUL.");
  if (workdir !== undefined) before.push(`cd ${quoteShellWord(workdir)} || return 1`);
  return [...before, code].join("\n");
}

/** Text as one word without quotes, for `printf %b`: a line that breaks off leaves nothing open. */
function shellWord(text: string): string {
  if (text === "") return "''";
  return Buffer.from(text, "utf8")
    .toString("latin1")
    .replaceAll(/[^A-Za-z0-9_]/g, (byte) => `\\\\0${byte.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
