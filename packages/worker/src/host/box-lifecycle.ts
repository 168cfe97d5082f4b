import { CaissonError, toCaissonError, type StartSandbox } from "@caisson/contract";
import type { Box, BoxSpec, Handle, Provider } from "@caisson/providers";
import { withDeadline } from "../durable/deadline.ts";
import { HOST_IMAGE } from "../images/image-store.ts";
import { askAgent } from "./ask-agent.ts";
import type { BoxRecord } from "./box-record.ts";
import type { HostParts } from "./host-parts.ts";

/** How long a provider may take to undo a start that was called off, in ms; after it the host goes on without it. */
const UNDO_GRACE_MS = 15_000;

/** Starts and ends boxes, each step recorded so that a crash between any two can be finished or undone. Run inside the queue. */
export class BoxLifecycle {
  readonly #parts: HostParts;

  constructor(parts: HostParts) {
    this.#parts = parts;
  }

  /** Boots a box and waits for its agent. On failure nothing is left but the memory of the epoch. */
  async start(spec: StartSandbox, provider: Provider, signal: AbortSignal): Promise<BoxRecord> {
    const { images, records, routes, clock, deadlines, conditions } = this.#parts;
    let box: Box | undefined;
    let recorded = false;
    let written: Promise<void> | undefined;
    try {
      const image = await images.use(provider.ownFiles === true ? HOST_IMAGE : spec.image, spec.sandboxId, signal);
      const starting = startingRecord(spec, image.digest, image.content);
      await records.write(starting);
      recorded = true;
      box = await this.#boot(provider, boxSpec(spec, image), signal);
      const { handle, runtime } = box;
      const running: BoxRecord = { ...starting, phase: "running", handle, runtime };
      const route = await routes.add(spec.sandboxId, (ending) => provider.connect(handle, ending));
      written = records.write(running);
      await Promise.all([askAgent(route, "ListSessions", clock, deadlines.hello, signal), written]);
      conditions.set(spec.sandboxId, { state: "running" });
      return running;
    } catch (error) {
      // The word that it runs must not come after the one that it has ended.
      await written?.catch(() => undefined);
      await this.#undo(spec, provider, box, recorded);
      throw error;
    }
  }

  /** Ends a box of this epoch or a lower one. Its record stays until nothing is left, so that a failure is tried again. */
  async end(sandboxId: string, epoch: number): Promise<void> {
    const { records, routes, images, conditions } = this.#parts;
    const before = records.get(sandboxId);
    const box = before?.kind === "box" ? before : undefined;
    if (before?.kind === "ended" && before.destroyed && before.epoch >= epoch) return;
    await routes.remove(sandboxId);
    if (box?.handle !== null && box?.handle !== undefined) await this.#destroy(box.provider, box.handle);
    await records.end(sandboxId, epoch, true);
    conditions.delete(sandboxId);
    await images.release(sandboxId);
  }

  /** Removes a box that nobody may use any more: its sandbox has ended, or a newer epoch took its place. */
  async removeLeftover(box: Box): Promise<void> {
    this.#parts.log("warn", "removing a box that was left over", { sandbox: box.sandboxId, epoch: box.epoch });
    await this.#destroy(box.handle.provider, box.handle);
  }

  async #boot(provider: Provider, spec: BoxSpec, signal: AbortSignal): Promise<Box> {
    const { clock, deadlines } = this.#parts;
    let attempt: Promise<Box> | undefined;
    try {
      const doing = `starting a box with the provider ${provider.name}`;
      return await withDeadline({ clock, ms: deadlines.start, doing, signal }, (limited) => {
        attempt = provider.start(spec, limited);
        return attempt;
      });
    } catch (error) {
      if (attempt !== undefined) await this.#calledOff(provider, attempt);
      throw error;
    }
  }

  /** Waits until a provider has undone a start; a box that comes all the same is removed, however late. */
  async #calledOff(provider: Provider, attempt: Promise<Box>): Promise<void> {
    const removed = attempt.then(
      (box) => this.#destroy(provider.name, box.handle),
      () => undefined,
    );
    removed.catch((error: unknown) => this.#warn("could not remove a box that came too late", error));
    const doing = "undoing a start";
    await withDeadline({ clock: this.#parts.clock, ms: UNDO_GRACE_MS, doing }, () => removed).catch((error: unknown) =>
      this.#warn("a start was not undone yet", error),
    );
  }

  async #undo(spec: StartSandbox, provider: Provider, box: Box | undefined, recorded: boolean): Promise<void> {
    const { records, routes, images, conditions } = this.#parts;
    const { sandboxId, epoch } = spec;
    conditions.delete(sandboxId);
    await routes.remove(sandboxId);
    try {
      if (box !== undefined) await this.#destroy(provider.name, box.handle);
      if (recorded) await records.end(sandboxId, epoch, false);
      await images.release(sandboxId);
    } catch (error) {
      // The record stays, so the box is still shown and a later destroy removes it.
      const known = records.box(sandboxId);
      if (box !== undefined && known !== undefined)
        await records
          .write({
            ...known,
            phase: "stopped",
            handle: box.handle,
            runtime: box.runtime,
            reason: "its start failed and could not be undone",
          })
          .catch((failure: unknown) => this.#warn("could not record a failed start", failure, sandboxId));
      this.#warn("could not undo a start", error, sandboxId);
    }
  }

  async #destroy(name: string, handle: Handle): Promise<void> {
    const provider = this.#parts.providers.get(name);
    if (provider === undefined)
      throw new CaissonError("provider_unavailable", `The box was made by the provider ${name}, which is not enabled here.`);
    const { clock, deadlines } = this.#parts;
    await withDeadline({ clock, ms: deadlines.destroy, doing: "removing a box" }, (limited) => provider.destroy(handle, limited));
  }

  #warn(message: string, error: unknown, sandbox?: string): void {
    this.#parts.log("warn", message, { error: toCaissonError(error).message, ...(sandbox === undefined ? {} : { sandbox }) });
  }
}

function startingRecord(spec: StartSandbox, digest: string | null, content: string): BoxRecord {
  const { image, resources, user, workdir } = spec;
  return {
    version: 1,
    kind: "box",
    sandbox_id: spec.sandboxId,
    epoch: spec.epoch,
    phase: "starting",
    provider: spec.provider,
    runtime: null,
    image_digest: digest,
    image_content: content,
    spec: { image, resources, ...(user === undefined ? {} : { user }), ...(workdir === undefined ? {} : { workdir }) },
    handle: null,
    reason: null,
  };
}

function boxSpec(spec: StartSandbox, image: Awaited<ReturnType<HostParts["images"]["resolve"]>>): BoxSpec {
  const { sandboxId, epoch, resources, network, runtime } = spec;
  const user = spec.user ?? image.defaults.user;
  const workdir = spec.workdir ?? image.defaults.workdir;
  return {
    sandboxId,
    epoch,
    resources,
    network,
    rootfs: image.rootfs,
    env: { ...image.defaults.env, ...spec.env },
    hostname: sandboxId,
    ...(runtime === undefined ? {} : { runtime }),
    ...(user === undefined ? {} : { user }),
    ...(workdir === undefined ? {} : { workdir }),
  };
}
