import { CaissonError, EXEC_JSON_LIMIT, formatDuration, type ExecResult } from "@caisson/contract";
import { exitCodeOf, type AttachedProcess } from "@caisson/guest";
import { OutputCollector } from "./output-collector.ts";
import { readOutput, type OutputBounds } from "./read-output.ts";

/** Waits for a process and gathers what it wrote. Throws `exec_timeout` when its timeout ended it. */
export async function collectOutput(attached: AttachedProcess, bounds: OutputBounds): Promise<ExecResult> {
  using reader = readOutput(attached, bounds);
  const streams = { stdout: new OutputCollector(EXEC_JSON_LIMIT), stderr: new OutputCollector(EXEC_JSON_LIMIT) };
  using _detach = { [Symbol.dispose]: () => attached.detach() };
  for (;;) {
    const output = await reader.next();
    if (output === undefined) throw new CaissonError("agent_unreachable", "The sandbox stopped reporting before the command ended.");
    if (output.type === "output") streams[output.stream].add(output.bytes);
    else if (output.type === "gap") streams[output.stream].gap();
    else {
      const { exit } = output;
      const { stdout, stderr } = streams;
      if (exit.timedOut)
        throw new CaissonError(
          "exec_timeout",
          `The command ran longer than ${formatDuration(bounds.timeoutMs ?? exit.durationMs)}; all its processes were killed.`,
          {
            detail: { process_id: attached.id, duration_ms: exit.durationMs, stdout: stdout.tail(), stderr: stderr.tail() },
          },
        );
      const out = stdout.encoded();
      const err = stderr.encoded();
      return {
        process_id: attached.id,
        exit_code: exitCodeOf(exit),
        signal: exit.signal,
        duration_ms: exit.durationMs,
        stdout: out.data,
        stdout_encoding: out.encoding ?? "utf8",
        stdout_bytes: exit.stdoutBytes,
        stdout_truncated: stdout.truncated,
        stderr: err.data,
        stderr_encoding: err.encoding ?? "utf8",
        stderr_bytes: exit.stderrBytes,
        stderr_truncated: stderr.truncated,
      };
    }
  }
}
