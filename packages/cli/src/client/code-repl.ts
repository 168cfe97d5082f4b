import { createInterface } from "node:readline/promises";
import type { Code, StreamCodeOptions } from "@caisson/sdk";

/**
 * A prompt whose lines run in a context: a line that ends with `:`, `{` or `\` begins a block, which an empty line ends.
 * Ctrl-C interrupts the code, Ctrl-D leaves. Returns the exit code.
 */
export async function codeRepl(
  code: Code,
  options: StreamCodeOptions,
  relay: (events: ReturnType<Code["stream"]>) => Promise<number>,
): Promise<number> {
  const prompt = createInterface({ input: process.stdin, output: process.stdout });
  let running: AbortController | undefined;
  let block: string[] = [];
  prompt.on("SIGINT", () => {
    if (running !== undefined) running.abort(new Error("interrupted"));
    else {
      block = [];
      process.stdout.write("\n");
      prompt.prompt();
    }
  });
  prompt.setPrompt(`${options.language ?? "python"}> `);
  prompt.prompt();
  for await (const line of prompt) {
    block.push(line);
    const open = block.length > 1 ? line !== "" : /[:{\\]\s*$/.test(line);
    if (open) {
      process.stdout.write("... ");
      continue;
    }
    const text = block.join("\n");
    block = [];
    if (text.trim() !== "") {
      running = new AbortController();
      const { signal } = running;
      try {
        await relay(code.stream(text, { ...options, signal }));
      } catch (error) {
        if (!signal.aborted) throw error;
        process.stdout.write("interrupted\n");
      }
      running = undefined;
    }
    prompt.prompt();
  }
  process.stdout.write("\n");
  return 0;
}
