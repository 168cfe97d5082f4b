import type { ChannelOpener, Clock, ProcessKind, SandboxHost, SandboxRef } from "@caisson/contract";
import type { AttachedProcess, Exit, Guest, ProcessOutput, ProcessSpec } from "@caisson/guest";
import { meteredStats } from "./metered-stats.ts";
import type { OperationName, OperationOptions } from "./operations.ts";
import type { ProcessRecorder } from "./process-recorder.ts";

/** Characters of a command and its arguments that are kept. */
const KEPT = 8_192;

/** Where work is done, by whom, and who writes it down. */
export interface RecordedGuestOptions {
  readonly host: Pick<SandboxHost, "guest" | "usage">;
  readonly ref: SandboxRef;
  /** The client of a guest agent over a way to it. */
  readonly guestOf: (opener: ChannelOpener) => Guest;
  readonly operation: OperationName;
  readonly caller: Pick<OperationOptions, "keyName" | "requestId"> & { readonly detail?: string };
  readonly recorder: Pick<ProcessRecorder, "started" | "watch" | "ended">;
  readonly clock: Pick<Clock, "now">;
}

/**
 * The guest of a sandbox whose processes are written into the exec log, whoever starts them: the command, never its environment,
 * its input or its output. Nothing is waited for: the recorder writes later.
 */
export function recordedGuest({ host, ref, guestOf, operation, caller, recorder, clock }: RecordedGuestOptions): Guest {
  const { sandboxId } = ref;
  const guest = guestOf(host.guest(ref));
  const stats: Guest["stats"] = (callOptions) => meteredStats(guest, host, ref, callOptions);
  const started = (id: number, how: "exec" | "spawn", spec: ProcessSpec): void => {
    recorder.started({
      sandboxId,
      processId: id,
      kind: kindOf(how, spec, operation, caller.detail),
      ...commandOf(spec),
      user: spec.user ?? null,
      workdir: spec.cwd ?? null,
      startedAt: clock.now(),
      keyName: caller.keyName ?? null,
      requestId: caller.requestId ?? null,
    });
  };
  const exec: Guest["exec"] = async (spec, callOptions) => {
    const attached = await guest.exec(spec, callOptions);
    started(attached.id, "exec", spec);
    return new RecordedProcess(attached, (exit) => {
      if (exit === undefined) recorder.watch({ sandboxId, processId: attached.id });
      else recorder.ended({ sandboxId, processId: attached.id }, exit);
    });
  };
  const spawn: Guest["spawn"] = async (spec, callOptions) => {
    const spawned = await guest.spawn(spec, callOptions);
    started(spawned.id, "spawn", spec);
    recorder.watch({ sandboxId, processId: spawned.id });
    return spawned;
  };
  return new Proxy(guest, {
    get: (target, key) => {
      if (key === "exec") return exec;
      if (key === "spawn") return spawn;
      if (key === "stats") return stats;
      const member: unknown = Reflect.get(target, key, target);
      return typeof member === "function" ? (member.bind(target) as unknown) : member;
    },
  });
}

/** A process that tells how it ended, or that nobody listens to it any more. */
class RecordedProcess implements AttachedProcess {
  readonly id: number;
  readonly pid: number;
  readonly #attached: AttachedProcess;
  #settle: ((exit: Exit | undefined) => void) | undefined;

  constructor(attached: AttachedProcess, settle: (exit: Exit | undefined) => void) {
    this.id = attached.id;
    this.pid = attached.pid;
    this.#attached = attached;
    this.#settle = settle;
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#attached.write(bytes);
  }

  closeInput(): void {
    this.#attached.closeInput();
  }

  detach(): void {
    this.#attached.detach();
    this.#settled(undefined);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ProcessOutput, void, void> {
    try {
      for await (const output of this.#attached) {
        if (output.type === "exit") this.#settled(output.exit);
        yield output;
      }
    } finally {
      this.#settled(undefined);
    }
  }

  #settled(exit: Exit | undefined): void {
    this.#settle?.(exit);
    this.#settle = undefined;
  }
}

/** How a process was started, as the log names it. */
function kindOf(how: "exec" | "spawn", spec: ProcessSpec, operation: OperationName, detail: string | undefined): ProcessKind {
  if (operation.startsWith("code.")) return "code";
  if (spec.pty !== undefined) return "terminal";
  if (detail === "socket") return "socket";
  return how === "spawn" ? "background" : "exec";
}

/** The command of a process as the log keeps it. */
export function commandOf(spec: Pick<ProcessSpec, "argv" | "command">): {
  readonly command: string;
  readonly args: readonly string[];
  readonly cut: boolean;
} {
  const [program = "", ...given] = spec.command === undefined ? (spec.argv ?? []) : [spec.command];
  const command = program.slice(0, KEPT);
  let left = KEPT - command.length;
  const args: string[] = [];
  for (const arg of given) {
    if (left <= 0) break;
    args.push(arg.slice(0, left));
    left -= Math.max(1, arg.length);
  }
  return { command, args, cut: command.length < program.length || args.length < given.length || args.at(-1) !== given.at(args.length - 1) };
}
