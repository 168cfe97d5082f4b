import { spawn, type ChildProcess } from "node:child_process";
import process from "node:process";
import type { Readable } from "node:stream";
import { CaissonError, type Clock } from "@caisson/contract";
import { supervisorArguments, type SupervisorRequest } from "./supervisor-arguments.ts";

/** How much longer than the supervisor itself we wait for its word. */
const GRACE_MS = 2_000;
const STATUS_LIMIT = 8_192;

/**
 * Starts a supervisor and returns once the box's agent runs. It then lives on without us. Fails with `provider_failed`
 * and its reason; then nothing of the box runs. `ended` is called when it ends while we live.
 */
export async function startSupervisor(
  agentPath: string,
  request: SupervisorRequest,
  ended: () => void,
  clock: Clock,
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  const child = spawn(agentPath, supervisorArguments(request, 3), {
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
    cwd: "/",
    env: { PATH: process.env["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  void exited.then(ended);
  try {
    await awaitStarted(child, request.startLimitMs + request.stopLimitMs + GRACE_MS, clock, signal);
    child.unref();
  } catch (error) {
    // It ends what it began; the answer waits so that nothing runs when the caller hears of the failure.
    child.kill("SIGTERM");
    const patience = clock.schedule(request.stopLimitMs + GRACE_MS, () => child.kill("SIGKILL"));
    await exited;
    patience.cancel();
    throw error;
  }
}

function awaitStarted(child: ChildProcess, limitMs: number, clock: Clock, signal?: AbortSignal): Promise<void> {
  const status = child.stdio[3] as Readable;
  return new Promise((resolve, reject) => {
    let text = "";
    const finish = (settle: () => void): void => {
      timer.cancel();
      signal?.removeEventListener("abort", abort);
      status.destroy();
      settle();
    };
    const fail = (message: string, cause?: unknown): void =>
      finish(() => reject(new CaissonError("provider_failed", message, cause === undefined ? {} : { cause })));
    const abort = (): void => finish(() => reject(signal?.reason as Error));
    const timer = clock.schedule(limitMs, () => fail(`The sandbox was not up within ${limitMs} ms.`));
    signal?.addEventListener("abort", abort, { once: true });
    child.once("error", (error) => fail(`The supervisor could not be started: ${error.message}`, error));
    status.setEncoding("utf8");
    status.on("data", (chunk: string) => {
      text = (text + chunk).slice(-STATUS_LIMIT);
      const lines = text.split("\n").slice(0, -1);
      const failure = lines.find((line) => line.startsWith("failed: "));
      if (failure !== undefined) fail(failure.slice("failed: ".length));
      else if (lines.some((line) => line.startsWith("started "))) finish(resolve);
    });
    status.once("error", (error) => fail("The supervisor's word could not be read.", error));
    status.once("end", () => fail("The supervisor ended without a word."));
  });
}
