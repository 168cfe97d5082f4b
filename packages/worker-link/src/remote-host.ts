import {
  CaissonError,
  type ChannelOpener,
  type ConsoleChunk,
  type ConsoleRange,
  type HostSandbox,
  type HostUsage,
  type ImageHost,
  type PauseOutcome,
  type SandboxHost,
  type SandboxRef,
  type StartSandbox,
  type UnreadSandbox,
  type WorkerDescription,
  type WorkerMethod,
} from "@caisson/contract";
import { ask, callOptions } from "./ask.ts";
import { readLists } from "./batches.ts";
import { readConsole } from "./console-stream.ts";
import { sendEnvironment } from "./environment-stream.ts";
import { RemoteGuest } from "./remote-guest.ts";
import { RemoteImages } from "./remote-images.ts";
import { refFromWire, refToWire, sandboxFromWire, sandboxIdOf, startToWire } from "./wire-sandbox.ts";
import { describeReplySchema, readReply, sandboxReplySchema, statusReplySchema, usageReplySchema } from "./worker-replies.ts";

/**
 * A worker at the other end of a link. Nothing is kept, nothing is sent twice and nothing has a time limit but the caller's.
 * While the link is down every call fails with the code the link was given for it, `worker_unavailable`; `unsent`
 * says that the call never left.
 */
export class RemoteHost implements SandboxHost {
  readonly workerId: string;
  readonly images: ImageHost;
  readonly #opener: ChannelOpener;

  constructor(workerId: string, opener: ChannelOpener) {
    this.workerId = workerId;
    this.images = new RemoteImages(opener);
    this.#opener = opener;
  }

  /** `forbidden` when it says to be another worker. */
  async describe(signal?: AbortSignal): Promise<WorkerDescription> {
    const said = await ask(this.#opener, "worker.describe", {}, describeReplySchema, signal);
    if (said.worker_id !== this.workerId)
      throw new CaissonError("forbidden", `The worker ${this.workerId} says that it is ${JSON.stringify(said.worker_id)}.`);
    return { workerId: said.worker_id, version: said.version, previewDomain: said.preview_domain, providers: said.providers };
  }

  async start(spec: StartSandbox, signal?: AbortSignal): Promise<HostSandbox> {
    const channel = this.#opener.open("worker.spawn", startToWire(spec), callOptions(signal));
    // Only the reply counts; it also tells why an environment was not taken.
    sendEnvironment(channel, spec.env).catch(() => undefined);
    try {
      const { sandbox } = readReply("worker.spawn", sandboxReplySchema, await channel.reply);
      if (sandbox.sandbox_id !== spec.sandboxId || sandbox.epoch !== spec.epoch)
        throw new CaissonError("protocol_error", `The worker ${this.workerId} started another sandbox than it was asked to.`);
      return sandboxFromWire(sandbox);
    } finally {
      channel.cancel();
    }
  }

  async destroy(ref: SandboxRef, signal?: AbortSignal): Promise<void> {
    await ask(this.#opener, "worker.destroy", refToWire(ref), undefined, signal);
  }

  async inspect(sandboxId: string, signal?: AbortSignal): Promise<HostSandbox | undefined> {
    const { sandbox } = await ask(this.#opener, "worker.status", { sandbox_id: sandboxId }, statusReplySchema, signal);
    if (sandbox !== null && sandbox.sandbox_id !== sandboxId)
      throw new CaissonError("protocol_error", `The worker ${this.workerId} tells of another sandbox than it was asked for.`);
    return sandbox === null ? undefined : sandboxFromWire(sandbox);
  }

  async inventory(signal?: AbortSignal): Promise<readonly (HostSandbox | UnreadSandbox)[]> {
    const channel = this.#opener.open("worker.inventory", {}, { ...callOptions(signal), noInput: true });
    const unread: UnreadSandbox[] = [];
    const { sandboxes } = await readLists("worker.inventory", channel, ["sandboxes"], (item, { message }) => {
      unread.push({ state: "unread", sandboxId: sandboxIdOf(item), problem: message });
    });
    return [...sandboxes.map(sandboxFromWire), ...unread];
  }

  guest(ref: SandboxRef): ChannelOpener {
    return new RemoteGuest(this.#opener, ref);
  }

  async usage(ref: SandboxRef, signal?: AbortSignal): Promise<HostUsage> {
    return { cpuMs: (await ask(this.#opener, "worker.usage", refToWire(ref), usageReplySchema, signal)).cpu_ms };
  }

  async logs(ref: SandboxRef, range: ConsoleRange, signal?: AbortSignal): Promise<ConsoleChunk> {
    const channel = this.#opener.open("worker.logs", { ...refToWire(ref), ...range }, { ...callOptions(signal), noInput: true });
    return readConsole("worker.logs", channel);
  }

  pauseAll(signal?: AbortSignal): Promise<PauseOutcome> {
    return this.#pause("worker.pause_all", signal);
  }

  resumeAll(signal?: AbortSignal): Promise<PauseOutcome> {
    return this.#pause("worker.resume_all", signal);
  }

  async drain(draining: boolean, signal?: AbortSignal): Promise<void> {
    await ask(this.#opener, "worker.drain", { draining }, undefined, signal);
  }

  async #pause(method: WorkerMethod, signal: AbortSignal | undefined): Promise<PauseOutcome> {
    const channel = this.#opener.open(method, {}, { ...callOptions(signal), noInput: true });
    const { done, refused } = await readLists(method, channel, ["done", "refused"]);
    return {
      done: done.map(refFromWire),
      refused: refused.map(({ code, reason, ...ref }) => ({ ...refFromWire(ref), code, reason })),
    };
  }
}
