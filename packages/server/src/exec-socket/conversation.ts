import { CaissonError, isCaissonError, type ExecControl, type ExecOpening, type ExecSign } from "@caisson/contract";
import type { AttachedProcess, Guest, ProcessSpec } from "@caisson/guest";
import type { FastifyBaseLogger } from "fastify";
import { exitRecord } from "../exec/output-records.ts";
import { processSpecOf } from "../exec/process-spec.ts";
import { readOutput } from "../exec/read-output.ts";
import { toWireError } from "../http/problem.ts";
import type { PeerMessage, SocketPeer } from "../http/socket-peer.ts";
import type { DataServices } from "../server-options.ts";
import { parseControl } from "./client-message.ts";
import { InputQueue, type InputSink } from "./input-queue.ts";
import { OutputWindow } from "./output-window.ts";
import { SharedInput } from "./shared-input.ts";

/** Largest piece of output in one message, in bytes: what a slow peer may leave in its socket is little more. */
const MAX_PIECE = 65_536;

/** First byte of a binary message of the server. */
const MARKS = { stdout: 1, stderr: 2 } as const;

/** Signals and changes of size that may wait for the guest before the client is not read. */
const MAX_CONTROLS = 64;

/** How long the last input of a client that has gone is given to a process that does not take it, in ms. */
const LAST_INPUT_MS = 5_000;

/** What a conversation works with. */
export interface ConversationContext {
  readonly services: Pick<DataServices, "clock" | "limits" | "execTimeoutMs" | "maxExecTimeoutMs">;
  readonly guest: Guest;
  readonly log: FastifyBaseLogger;
  /** Aborted when the client has gone or the server closes. */
  readonly signal: AbortSignal;
}

/** A process that a client has by a socket. */
interface Held {
  readonly attached: AttachedProcess;
  readonly input: InputSink;
  readonly started: ExecSign & { readonly type: "started" };
  readonly timeoutMs?: number;
}

/**
 * One client and one process: output goes out at the pace of the client, input goes in at the pace of the process, and
 * signals and changes of size pass both. It ends with the process, with the client, or with an error; only a process that
 * was begun with `kill_on_disconnect` ends with it.
 */
export class Conversation {
  readonly #peer: SocketPeer;
  readonly #context: ConversationContext;
  readonly #opening: ExecOpening;
  readonly #window: OutputWindow;
  readonly #failed = Promise.withResolvers<never>();
  #controls: Promise<void> = Promise.resolve();
  #waitingControls = 0;
  #inputFull = false;

  constructor(peer: SocketPeer, opening: ExecOpening, context: ConversationContext) {
    this.#peer = peer;
    this.#opening = opening;
    this.#context = context;
    this.#window = new OutputWindow(opening.window);
    // A failure counts when somebody waits for it.
    this.#failed.promise.catch(() => undefined);
  }

  /** Runs to its end. Throws what ended it, unless that was the exit of the process. */
  async run(): Promise<void> {
    const { signal, guest } = this.#context;
    const held = this.#opening.type === "start" ? await this.#start(this.#opening) : await this.#attach(this.#opening);
    const input = new InputQueue(held.input, {
      full: (full) => {
        this.#inputFull = full;
        this.#holdInput();
      },
      refused: (reason) => this.#refuseInput(reason),
    });
    const fail = (): void => this.#failed.reject(signal.reason as Error);
    signal.addEventListener("abort", fail, { once: true });
    if (signal.aborted) fail();
    try {
      this.#peer.tell(held.started);
      this.#peer.receiver = (message) => {
        try {
          this.#receive(message, held, input, guest);
        } catch (error) {
          this.#failed.reject(error as Error);
        }
      };
      await Promise.race([this.#relay(held), this.#failed.promise]);
    } finally {
      signal.removeEventListener("abort", fail);
      this.#peer.receiver = () => undefined;
      void this.#leave(held, input);
    }
  }

  async #start(opening: ExecOpening & { type: "start" }): Promise<Held> {
    const { services, guest, signal } = this.#context;
    const spec: ProcessSpec = processSpecOf(opening, opening.stdin === false ? "no input" : "input", services);
    const attached = await guest.exec({ ...spec, killOnDisconnect: opening.kill_on_disconnect === true }, { signal });
    return {
      attached,
      input: spec.stdin === true || spec.pty !== undefined ? ownInput(attached) : NO_INPUT,
      started: {
        type: "started",
        process_id: attached.id,
        pid: attached.pid,
        pty: spec.pty !== undefined,
        stdout_offset: 0,
        stderr_offset: 0,
      },
      ...(spec.timeoutMs === undefined ? {} : { timeoutMs: spec.timeoutMs }),
    };
  }

  async #attach({ process_id: id, stdout_offset, stderr_offset }: ExecOpening & { type: "attach" }): Promise<Held> {
    const { guest, signal } = this.#context;
    const { pty, stdout, stderr } = await guest.session(id, { signal });
    const from = { stdoutOffset: stdout_offset ?? stdout.start, stderrOffset: stderr_offset ?? stderr.start };
    const attached = await guest.attach(id, from, { signal });
    return {
      attached,
      input: new SharedInput(guest, id),
      started: {
        type: "started",
        process_id: id,
        pid: attached.pid,
        pty,
        stdout_offset: from.stdoutOffset,
        stderr_offset: from.stderrOffset,
      },
    };
  }

  /** Passes on what the process says, to its exit. */
  async #relay({ attached, timeoutMs }: Held): Promise<void> {
    const { services, signal } = this.#context;
    const { clock, limits } = services;
    using reader = readOutput(attached, { clock, signal, graceMs: limits.execGraceMs, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
    for (;;) {
      const output = await reader.next();
      if (output === undefined) throw new CaissonError("agent_unreachable", "The sandbox stopped reporting before the process ended.");
      if (output.type === "gap")
        this.#peer.tell({ type: "gap", stream: output.stream, from: output.from, to: output.to } satisfies ExecSign);
      else if (output.type === "exit") return this.#peer.tell(exitRecord(output.exit));
      else await this.#send(MARKS[output.stream], output.bytes);
    }
  }

  async #send(mark: number, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      const room = await this.#window.take(Math.min(MAX_PIECE, bytes.length - at));
      await this.#peer.send(mark, bytes.subarray(at, at + room));
      at += room;
    }
  }

  #receive(message: PeerMessage, held: Held, input: InputQueue, guest: Guest): void {
    if (message.kind === "binary") return input.write(message.bytes);
    const control = parseControl(message.bytes);
    const { id } = held.attached;
    switch (control.type) {
      case "ping":
        return this.#peer.tell({ type: "pong" } satisfies ExecSign);
      case "ack":
        return this.#window.ack(control.bytes);
      case "close_stdin":
        return input.end();
      case "resize":
        if (!held.started.pty) throw new CaissonError("invalid_request", "The process has no terminal: start it with `pty`.");
        return this.#queue(input, () => guest.resize(id, control.cols, control.rows));
      case "signal":
        return this.#queue(input, () => guest.kill(id, signalOf(control)));
      default:
        return control satisfies never;
    }
  }

  /**
   * Calls to the guest, one after another: before the input that comes later, and beside the input that came before, which
   * the process may not take. What the client asks of a process that has ended by then is without effect.
   */
  #queue(input: InputQueue, call: () => Promise<unknown>): void {
    this.#waitingControls += 1;
    this.#holdInput();
    this.#controls = this.#controls
      .then(call)
      .then(
        () => undefined,
        (error: unknown) => {
          if (!isCaissonError(error, "process_not_found")) this.#failed.reject(error as Error);
        },
      )
      .then(() => {
        this.#waitingControls -= 1;
        this.#holdInput();
      });
    input.after(this.#controls);
  }

  /** A client that sends more than is taken is not read; acknowledgements that wait unread must then not stop the output. */
  #holdInput(): void {
    const full = this.#inputFull || this.#waitingControls > MAX_CONTROLS;
    this.#window.lifted = full;
    if (full) this.#peer.hold("input");
    else this.#peer.release("input");
  }

  #refuseInput(reason: unknown): void {
    const { error } = toWireError(reason);
    this.#context.log.debug({ err: reason }, "input was not taken");
    this.#peer.tell({ type: "stdin_closed", code: error.code, message: error.message } satisfies ExecSign);
  }

  /** Lets the process go, behind the input that its client still sent. */
  async #leave({ attached, input: sink }: Held, input: InputQueue): Promise<void> {
    const { services, log } = this.#context;
    const killed = this.#opening.type === "start" && this.#opening.kill_on_disconnect === true;
    if (!killed) {
      const late = Promise.withResolvers<void>();
      const timer = services.clock.schedule(LAST_INPUT_MS, () => late.resolve());
      await Promise.race([input.idle(), late.promise]);
      timer.cancel();
    }
    attached.detach();
    if (sink instanceof SharedInput) await sink.leave().catch((error: unknown) => log.debug({ err: error }, "input was not taken"));
  }
}

function ownInput(attached: AttachedProcess): InputSink {
  return {
    write: (bytes) => attached.write(bytes),
    close: async () => attached.closeInput(),
  };
}

/** Of a process that was started without. */
const NO_INPUT: InputSink = {
  write: () => Promise.reject(new CaissonError("state_conflict", "The process was started without standard input.")),
  close: () => Promise.resolve(),
};

function signalOf({ signal, scope }: ExecControl & { type: "signal" }): Parameters<Guest["kill"]>[1] {
  return { ...(signal === undefined ? {} : { signal }), ...(scope === undefined ? {} : { scope }) };
}
