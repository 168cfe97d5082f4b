import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { usageError } from "../program/cli-error.ts";

/** Most characters of standard input that are looked at for a token. */
const MAX_LINE = 4096;

/** Where the token of an invitation comes from. */
export interface JoinTokenOptions {
  readonly token?: string;
  /** A file, or `-` for standard input. */
  readonly tokenFile?: string;
}

/** The token of an invitation: the first line of what holds it. Throws `invalid_request` where there is none, or what cannot be one. */
export async function joinToken({ token, tokenFile }: JoinTokenOptions): Promise<string> {
  if (token !== undefined && tokenFile !== undefined) throw usageError("--token and --token-file are both given.", "Leave one out.");
  if (token !== undefined) return checked(token, "--token");
  if (tokenFile === undefined)
    throw usageError("There is no token.", "Add --token-file - and give the token when it is asked for; `caisson workers add` prints one.");
  if (tokenFile !== "-") return checked(firstLine(await fromFile(tokenFile)), tokenFile);
  return checked(firstLine(process.stdin.isTTY ? await typed() : await piped()), "Standard input");
}

function checked(token: string, source: string): string {
  if (token.length >= 16 && token.length <= 256 && !/\s/.test(token)) return token;
  throw usageError(
    token === "" ? `${source} holds no token.` : `${source} holds no token of an invitation.`,
    "Take the whole token as `caisson workers add` printed it: cwi_…",
  );
}

function firstLine(text: string): string {
  return text.split(/\r?\n/, 1)[0]?.trim() ?? "";
}

function fromFile(path: string): Promise<string> {
  return readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw usageError(`${path} cannot be read: ${error.code ?? error.message}.`, "Name a file with the token, or - for standard input.");
  });
}

/** What comes up to the first line end: whoever writes it need not close it. */
async function piped(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) {
    text += chunk as string;
    if (text.includes("\n") || text.length > MAX_LINE) break;
  }
  return text;
}

/** What somebody types or pastes; it is not shown. */
async function typed(): Promise<string> {
  const unseen = new Writable({ write: (_chunk, _encoding, done) => done() });
  const prompt = createInterface({ input: process.stdin, output: unseen, terminal: true });
  const interrupted = new AbortController();
  prompt.once("SIGINT", () => interrupted.abort());
  prompt.once("close", () => interrupted.abort());
  process.stderr.write("Token (it is not shown): ");
  try {
    return await prompt.question("", { signal: interrupted.signal });
  } catch {
    return ""; // Ctrl-C or Ctrl-D: no token
  } finally {
    process.stderr.write("\n");
    prompt.close();
  }
}
