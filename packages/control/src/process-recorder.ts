import { toCaissonError, type Clock, type ToldProcess } from "@caisson/contract";
import { exitCodeOf, type Exit, type Guest, type Session } from "@caisson/guest";
import type { EndedProcess, ExecLogRepository, ProcessRef, StartedProcess } from "@caisson/store";
import type { Logger } from "./logger.ts";
import { Loop } from "./loop.ts";
import { ProcessWatcher } from "./process-watcher.ts";
import { commandOf } from "./recorded-guest.ts";

/** How long what happened may wait for its transaction, in ms. */
const WRITE_WITHIN_MS = 1_000;
/** Starts and ends of one transaction: a few milliseconds, in which nothing else runs. */
const BATCH = 64;
/** Starts and ends that wait when the database does not take them; what is beyond is found again in the sandboxes. */
const MOST_WAITING = 16_384;
/** Rest when there is nothing to write, in ms. */
const REST_MS = 60_000;
/** Age from which a process that the log lacks was started by somebody who died, in ms: a living one has written it by then. */
const FOREIGN_MS = 10_000;

/** What a recorder needs. */
export interface ProcessRecorderOptions {
  readonly clock: Clock;
  readonly log: ExecLogRepository;
  readonly logger: Logger;
  /** The guest of a sandbox; undefined when it has ended. Rejects when it cannot be reached. */
  readonly guestOf: (sandboxId: string) => Promise<Guest | undefined>;
}

/**
 * Writes the exec log behind the backs of those who run something: in batches, off the way of requests. What a crash keeps
 * from being written is found again in the sandboxes, whose agents remember their last processes.
 */
export class ProcessRecorder {
  readonly #options: ProcessRecorderOptions;
  readonly #loop: Loop;
  readonly #watcher: ProcessWatcher;
  readonly #born: number;
  #started: StartedProcess[] = [];
  #ended: EndedProcess[] = [];
  #inRound = false;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: ProcessRecorderOptions) {
    this.#options = options;
    this.#born = options.clock.now();
    this.#loop = new Loop({ name: "exec log", clock: options.clock, logger: options.logger, round: () => this.#round() });
    this.#watcher = new ProcessWatcher({
      ...options,
      ended: (ref, exit) => this.ended(ref, exit),
      look: (sandboxId, guest) => this.#look(sandboxId, guest, options.clock.now() - FOREIGN_MS),
    });
  }

  /** Runs until the signal is aborted, then writes what is left. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#loop.run(signal), this.#watcher.run(signal)]);
    await this.flush().catch((error: unknown) => this.#warn(error, "the last processes are left to the next start"));
  }

  /** A process was started. */
  started(process: StartedProcess): void {
    this.#started.push(process);
    this.#soon();
  }

  /** A process has ended; `exit` undefined: nobody saw how. */
  ended(ref: ProcessRef, exit: Exit | undefined): void {
    const now = this.#options.clock.now();
    this.#ended.push({
      sandboxId: ref.sandboxId,
      processId: ref.processId,
      endedAt: exit === undefined ? now : Math.min(now, Math.max(0, exit.endedAtMs)),
      exit:
        exit === undefined
          ? null
          : {
              exitCode: exitCodeOf(exit),
              signal: exit.signal,
              timedOut: exit.timedOut,
              durationMs: exit.durationMs,
              stdoutBytes: exit.stdoutBytes,
              stderrBytes: exit.stderrBytes,
            },
    });
    this.#soon();
  }

  /** Nobody listens to a process: from now on its end is waited for here. */
  watch(ref: ProcessRef): void {
    this.#watcher.watch(ref);
  }

  /** Resolves when all that happened before is in the database. */
  flush(): Promise<void> {
    const write = this.#writing.then(() => this.#write());
    this.#writing = write.catch(() => undefined); // told to whoever waits for it; what was not written waits for the next time
    return write;
  }

  /** Takes over live sandboxes after a start: what a predecessor did not write, and what it waited for. */
  async takeOver(sandboxIds: readonly string[]): Promise<void> {
    await this.#watcher.each(sandboxIds, (sandboxId, guest) => this.#look(sandboxId, guest, this.#born));
  }

  /** Takes over live sandboxes after another control plane died: what it did not write, and what it waited for. */
  async inherit(sandboxIds: readonly string[]): Promise<void> {
    const before = this.#options.clock.now() - FOREIGN_MS;
    await this.#watcher.each(sandboxIds, (sandboxId, guest) => this.#look(sandboxId, guest, before));
  }

  /** Brings the log of one sandbox up to what its agent knows. */
  async catchUp(sandboxId: string, guest: Guest): Promise<void> {
    await this.#look(sandboxId, guest, this.#options.clock.now() - FOREIGN_MS);
    await this.flush();
  }

  /**
   * Takes over processes that a client started on the worker, past every control plane: what they are, their agent tells. One
   * that it does not know any more is left out.
   */
  async adopt(sandboxId: string, guest: Guest, keyName: string | null, told: readonly ToldProcess[]): Promise<void> {
    const sessions = new Map((await guest.sessions()).map((session) => [session.id, session]));
    for (const { process_id: id, kind, request_id: requestId } of told) {
      const session = sessions.get(id);
      if (session !== undefined) this.#found(sandboxId, session, { kind, keyName, requestId });
    }
    await this.flush();
  }

  /** Compares the log of a sandbox with what its agent remembers: processes started before a time that it lacks, and ends. */
  async #look(sandboxId: string, guest: Guest, before: number): Promise<void> {
    const { log } = this.#options;
    await this.flush();
    const running = await log.running(sandboxId);
    const sessions = new Map((await guest.sessions()).map((session) => [session.id, session]));
    const known = await log.known(sandboxId, [...sessions.keys()]);
    for (const [id, session] of sessions) {
      if (known.has(id) || session.startedAtMs >= before) continue;
      this.#found(sandboxId, session, { kind: "unknown", keyName: null, requestId: null });
    }
    for (const { processId } of running) {
      const session = sessions.get(processId);
      if (session === undefined) this.ended({ sandboxId, processId }, undefined);
      else if (session.exit === null) this.watch({ sandboxId, processId });
      else this.ended({ sandboxId, processId }, session.exit);
    }
  }

  /** A process that somebody else started. */
  #found(sandboxId: string, session: Session, known: Pick<StartedProcess, "kind" | "keyName" | "requestId">): void {
    const ref = { sandboxId, processId: session.id };
    this.started({
      ...ref,
      ...known,
      ...commandOf(session.command === null ? { argv: session.argv } : { command: session.command }),
      user: session.user,
      workdir: session.cwd,
      startedAt: session.startedAtMs,
    });
    if (session.exit === null) this.watch(ref);
    else this.ended(ref, session.exit);
  }

  #soon(): void {
    // A round that runs looks for itself what came meanwhile.
    if (this.#inRound) return;
    if (this.#waiting() >= BATCH) this.#loop.nudge();
    else this.#loop.within(WRITE_WITHIN_MS);
  }

  async #round(): Promise<number> {
    this.#inRound = true;
    try {
      await this.flush();
    } finally {
      this.#inRound = false;
    }
    return this.#waiting() > 0 ? WRITE_WITHIN_MS : REST_MS;
  }

  #waiting(): number {
    return this.#started.length + this.#ended.length;
  }

  async #write(): Promise<void> {
    while (this.#waiting() > 0) {
      const started = this.#started.splice(0, BATCH);
      // An end is written with its start or after it, never before.
      const ended = this.#started.length === 0 ? this.#ended.splice(0, BATCH) : [];
      try {
        await this.#options.log.write(started, ended);
      } catch (error) {
        this.#started = [...started, ...this.#started].slice(0, MOST_WAITING);
        this.#ended = [...ended, ...this.#ended].slice(0, MOST_WAITING);
        throw error;
      }
    }
  }

  #warn(error: unknown, message: string): void {
    this.#options.logger.warn({ outcome: toCaissonError(error).code, err: error }, message);
  }
}
