import { CaissonError, isCaissonError, type PauseOutcome, type SandboxHost, type StartSandbox, type WorkerMethod } from "@caisson/contract";
import type { IncomingCall } from "@caisson/link";
import { sendLists } from "./batches.ts";
import { sendConsole } from "./console-stream.ts";
import { readEnvironment } from "./environment-stream.ts";
import { inventoryItemToWire, refFromWire, refToWire, sandboxToWire, startFromWire } from "./wire-sandbox.ts";
import type { WorkerParams } from "./worker-params.ts";

/** What the methods work with. */
export interface HostContext {
  readonly host: SandboxHost;
  readonly admit: (spec: StartSandbox) => Promise<void>;
}

export type HostMethod<P> = (call: IncomingCall, params: P, context: HostContext) => Promise<void>;

const last = { fin: true } as const;

/** A worker's own methods, with parameters that fit. What they throw fails the call. */
export const HOST_METHODS: { readonly [M in WorkerMethod]: HostMethod<WorkerParams<M>> } = {
  "worker.spawn": async (call, params, { host, admit }) => {
    const spec = startFromWire(params, await readEnvironment(call));
    await admit(spec);
    call.reply({ sandbox: sandboxToWire(await host.start(spec, calledOff(call))) }, last);
  },
  "worker.destroy": async (call, params, { host }) => {
    await host.destroy(refFromWire(params), call.signal);
    call.reply({}, last);
  },
  "worker.status": async (call, params, { host }) => {
    const sandbox = await host.inspect(params.sandbox_id, call.signal);
    call.reply({ sandbox: sandbox === undefined ? null : sandboxToWire(sandbox) }, last);
  },
  "worker.inventory": async (call, _params, { host }) =>
    sendLists(call, { sandboxes: (await host.inventory(call.signal)).map(inventoryItemToWire) }),
  "worker.describe": async (call, _params, { host }) => {
    const { workerId, version, previewDomain, providers } = await host.describe(call.signal);
    call.reply({ worker_id: workerId, version, preview_domain: previewDomain, providers }, last);
  },
  "worker.usage": async (call, params, { host }) => {
    const usage = await host.usage?.(refFromWire(params), call.signal);
    call.reply({ cpu_ms: usage?.cpuMs ?? null }, last);
  },
  "worker.logs": async (call, params, { host }) => {
    const { sandbox_id, epoch, ...range } = params;
    await sendConsole(call, await host.logs(refFromWire({ sandbox_id, epoch }), range, call.signal));
  },
  "worker.pause_all": async (call, _params, { host }) => {
    if (host.pauseAll === undefined) throw unable(host, "freeze its sandboxes");
    await sendOutcome(call, await host.pauseAll(call.signal));
  },
  "worker.resume_all": async (call, _params, { host }) => {
    if (host.resumeAll === undefined) throw unable(host, "freeze its sandboxes");
    await sendOutcome(call, await host.resumeAll(call.signal));
  },
  "worker.drain": async (call, params, { host }) => {
    if (host.drain === undefined) throw unable(host, "drain");
    await host.drain(params.draining, call.signal);
    call.reply({}, last);
  },
  "worker.list_images": async (call, _params, { host }) => sendLists(call, { images: await host.images.list(call.signal) }),
  "worker.pull_image": async (call, { reference, force }, { host }) => {
    const image = await host.images.pull(reference, { signal: call.signal, ...(force === undefined ? {} : { force }) });
    call.reply({ image }, last);
  },
  "worker.import_image": async (call, { name }, { host }) => {
    call.reply({ image: await host.images.importArchive(name, inputOf(call), call.signal) }, last);
  },
  "worker.remove_image": async (call, { name }, { host }) => {
    await host.images.remove(name, call.signal);
    call.reply({}, last);
  },
};

/**
 * Aborted when the caller lets go, not when the link breaks: a start goes on then, and whoever asks again for the same sandbox
 * and epoch finds it running.
 */
function calledOff(call: IncomingCall): AbortSignal {
  const controller = new AbortController();
  const { signal } = call;
  const check = (): void => {
    if (isCaissonError(signal.reason, "cancelled", "deadline_exceeded")) controller.abort(signal.reason);
  };
  signal.addEventListener("abort", check, { once: true });
  if (signal.aborted) check();
  return controller.signal;
}

function sendOutcome(call: IncomingCall, { done, refused }: PauseOutcome): Promise<void> {
  return sendLists(call, {
    done: done.map(refToWire),
    refused: refused.map(({ code, reason, ...ref }) => ({ ...refToWire(ref), code, reason: reason.slice(0, 1024) })),
  });
}

/** The bytes that come with a call. */
async function* inputOf(call: IncomingCall): AsyncGenerator<Uint8Array, void, void> {
  for await (const frame of call) {
    if (frame.kind !== "data") throw new CaissonError("invalid_argument", `The input of ${call.method} is bytes.`);
    yield frame.bytes;
  }
}

function unable(host: SandboxHost, what: string): CaissonError {
  return new CaissonError("unsupported", `The worker ${host.workerId} cannot ${what}.`);
}
