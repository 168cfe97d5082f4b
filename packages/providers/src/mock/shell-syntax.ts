/** A part of a word: text, or a variable to put in. */
export type WordPart = { readonly text: string; readonly quoted: boolean } | { readonly variable: string; readonly quoted: boolean };
export type Word = readonly WordPart[];

export interface Redirection {
  readonly fd: number;
  readonly kind: "read" | "write" | "append" | "copy";
  readonly target: Word;
}

export type Command =
  | { readonly kind: "simple"; readonly words: readonly Word[]; readonly redirections: readonly Redirection[] }
  | { readonly kind: "group"; readonly body: List; readonly redirections: readonly Redirection[] };

export interface Pipeline {
  readonly negated: boolean;
  readonly commands: readonly Command[];
}

/** Pipelines, each with what decides whether it runs. */
export type List = readonly { readonly when: "always" | "success" | "failure"; readonly pipeline: Pipeline }[];

/** A line the mock's shell cannot read. */
export class ShellSyntaxError extends Error {}

type Token = { readonly op: string } | { readonly word: Word };

const OPERATORS = ["&&", "||", ">>", ">&", ";", "|", ">", "<", "(", ")", "\n", "&"];

function tokens(line: string): Token[] {
  const found: Token[] = [];
  let at = 0;
  while (at < line.length) {
    const char = line[at] as string;
    if (char === " " || char === "\t") {
      at++;
      continue;
    }
    if (char === "#") {
      while (at < line.length && line[at] !== "\n") at++;
      continue;
    }
    const fd = /^\d(?=[<>])/.exec(line.slice(at, at + 2));
    if (fd !== null) {
      found.push({ op: `fd${fd[0]}` });
      at++;
      continue;
    }
    const op = OPERATORS.find((text) => line.startsWith(text, at));
    if (op !== undefined) {
      found.push({ op });
      at += op.length;
      continue;
    }
    const { word, next } = readWord(line, at);
    found.push({ word });
    at = next;
  }
  return found;
}

function readWord(line: string, start: number): { word: Word; next: number } {
  const parts: WordPart[] = [];
  let at = start;
  let text = "";
  const flush = (quoted: boolean): void => {
    if (text !== "") parts.push({ text, quoted });
    text = "";
  };
  const variable = (quoted: boolean): boolean => {
    const match = /^\$(?:\{([A-Za-z_]\w*|[?$#0-9])\}|([A-Za-z_]\w*|[?$#0-9]))/.exec(line.slice(at));
    if (match === null) {
      if (line.startsWith("$(", at)) throw new ShellSyntaxError("command substitution is not known to the mock's shell");
      return false;
    }
    flush(quoted);
    parts.push({ variable: match[1] ?? match[2] ?? "", quoted });
    at += match[0].length;
    return true;
  };
  while (at < line.length && !/[\s;|&<>()]/.test(line[at] as string)) {
    const char = line[at] as string;
    if (char === "'") {
      flush(false);
      const end = line.indexOf("'", at + 1);
      if (end < 0) throw new ShellSyntaxError("a quote is not closed");
      parts.push({ text: line.slice(at + 1, end), quoted: true });
      at = end + 1;
    } else if (char === '"') {
      flush(false);
      at++;
      parts.push({ text: "", quoted: true });
      while (line[at] !== '"') {
        if (at >= line.length) throw new ShellSyntaxError("a quote is not closed");
        if (line[at] === "\\" && '"\\$`\n'.includes(line[at + 1] ?? " ")) {
          text += line[at + 1];
          at += 2;
        } else if (line[at] !== "$" || !variable(true)) text += line[at++];
      }
      at++;
      flush(true);
    } else if (char === "\\") {
      flush(false);
      parts.push({ text: line[at + 1] ?? "", quoted: true });
      at += 2;
    } else if (char === "`") {
      throw new ShellSyntaxError("command substitution is not known to the mock's shell");
    } else if (char !== "$" || !variable(false)) text += line[at++];
  }
  flush(false);
  return { word: parts, next: at };
}

/** Reads a script of the mock's small shell. */
export function parseShell(script: string): List {
  const all = tokens(script);
  let at = 0;
  const op = (): string | undefined => {
    const token = all[at];
    return token !== undefined && "op" in token ? token.op : undefined;
  };

  function redirection(): Redirection | undefined {
    let fd: number | undefined;
    const before = op();
    if (before?.startsWith("fd") === true) {
      fd = Number(before.slice(2));
      at++;
    }
    const kind = ({ ">": "write", ">>": "append", "<": "read", ">&": "copy" } as const)[op() ?? ""];
    if (kind === undefined) return undefined;
    at++;
    const target = all[at++];
    if (target === undefined || !("word" in target)) throw new ShellSyntaxError("a redirection needs a target");
    return { fd: fd ?? (kind === "read" ? 0 : 1), kind, target: target.word };
  }

  function command(): Command {
    const redirections: Redirection[] = [];
    const words: Word[] = [];
    if (op() === "(") {
      at++;
      const body = list(")");
      if (op() !== ")") throw new ShellSyntaxError("a parenthesis is not closed");
      at++;
      for (let next = redirection(); next !== undefined; next = redirection()) redirections.push(next);
      return { kind: "group", body, redirections };
    }
    for (;;) {
      const token = all[at];
      const next = redirection();
      if (next !== undefined) redirections.push(next);
      else if (token !== undefined && "word" in token) {
        words.push(token.word);
        at++;
      } else break;
    }
    if (words.length === 0 && redirections.length === 0)
      throw new ShellSyntaxError(`a command is missing${op() === undefined ? "" : ` before ${op()}`}`);
    return { kind: "simple", words, redirections };
  }

  function pipeline(): Pipeline {
    let negated = false;
    const first = all[at];
    if (
      first !== undefined &&
      "word" in first &&
      first.word.length === 1 &&
      "text" in first.word[0]! &&
      first.word[0].text === "!" &&
      !first.word[0].quoted
    ) {
      negated = true;
      at++;
    }
    const commands = [command()];
    while (op() === "|") {
      at++;
      while (op() === "\n") at++;
      commands.push(command());
    }
    return { negated, commands };
  }

  function list(until: ")" | undefined): List {
    const items: { when: "always" | "success" | "failure"; pipeline: Pipeline }[] = [];
    let when: "always" | "success" | "failure" = "always";
    for (;;) {
      while (op() === "\n" || (when === "always" && op() === ";" && items.length > 0)) at++;
      if (at >= all.length || (until !== undefined && op() === until)) break;
      items.push({ when, pipeline: pipeline() });
      const next = op();
      if (next === "&") throw new ShellSyntaxError("background commands are not known to the mock's shell");
      when = next === "&&" ? "success" : next === "||" ? "failure" : "always";
      if (next === "&&" || next === "||" || next === ";" || next === "\n") at++;
      else if (next !== until && at < all.length) throw new ShellSyntaxError(`unexpected ${next ?? "word"}`);
    }
    if (when !== "always") throw new ShellSyntaxError("a command is missing at the end");
    return items;
  }

  const parsed = list(undefined);
  if (at < all.length) throw new ShellSyntaxError(`unexpected ${op() ?? "word"}`);
  return parsed;
}
