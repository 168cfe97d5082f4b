import { type CaissonError, STREAM_STDERR, STREAM_STDOUT, type Channel, type ChannelFrame } from "@caisson/contract";
import { Answer } from "./answer.ts";
import type { AttachedProcess, ProcessOutput } from "./guest.ts";
import { readExit } from "./read-answer.ts";
import { broken } from "./read-channel.ts";

/** Where a reader stands, and whether the stream may end without an exit. */
export interface ProcessStreamStart {
  readonly id: number;
  readonly pid: number;
  readonly stdoutOffset: number;
  readonly stderrOffset: number;
  readonly ends: "with exit" | "any time";
}

/** A process over its channel: data frames become output with offsets. */
export class ProcessStream implements AttachedProcess {
  readonly id: number;
  readonly pid: number;
  readonly #channel: Channel;
  readonly #ends: ProcessStreamStart["ends"];
  readonly #offsets: { stdout: number; stderr: number };

  constructor(channel: Channel, start: ProcessStreamStart) {
    this.#channel = channel;
    this.id = start.id;
    this.pid = start.pid;
    this.#ends = start.ends;
    this.#offsets = { stdout: start.stdoutOffset, stderr: start.stderrOffset };
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#channel.write(bytes);
  }

  closeInput(): void {
    this.#channel.end();
  }

  detach(): void {
    this.#channel.cancel();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ProcessOutput, void, void> {
    for await (const frame of this.#channel) {
      const output = frame.kind === "data" ? this.#data(frame) : this.#event(frame.event);
      if (output.type === "exit") {
        // The process takes no more input; without this the channel would stay half open.
        this.#channel.end();
        yield output;
        return;
      }
      yield output;
    }
    this.#channel.end();
    if (this.#ends === "with exit") throw broken("the output ended without an exit");
  }

  #data(frame: ChannelFrame & { kind: "data" }): ProcessOutput {
    const stream = frame.stream === STREAM_STDOUT ? "stdout" : frame.stream === STREAM_STDERR ? "stderr" : undefined;
    if (stream === undefined) throw this.#break(`output on stream ${frame.stream}`);
    const offset = this.#offsets[stream];
    this.#offsets[stream] += frame.bytes.length;
    return { type: "output", stream, offset, bytes: frame.bytes };
  }

  #event(event: Readonly<Record<string, unknown>>): ProcessOutput {
    try {
      const answer = new Answer(event, String(event["type"]));
      const type = answer.oneOf("type", ["gap", "exit"]);
      if (type === "exit") return { type, exit: readExit(answer) };
      const stream = answer.oneOf("stream", ["stdout", "stderr"]);
      const from = answer.int("from");
      const to = answer.int("to", from);
      if (from !== this.#offsets[stream]) throw broken(`a gap from ${from} where ${this.#offsets[stream]} comes next`);
      this.#offsets[stream] = to;
      return { type, stream, from, to };
    } catch (error) {
      this.#channel.cancel();
      throw error;
    }
  }

  #break(what: string): CaissonError {
    this.#channel.cancel();
    return broken(what);
  }
}
