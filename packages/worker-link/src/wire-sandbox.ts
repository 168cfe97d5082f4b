import {
  guestPathSchema,
  guestUserSchema,
  SANDBOX_ID_PATTERN,
  type HostSandbox,
  type Resources,
  type SandboxRef,
  type StartSandbox,
  type UnreadSandbox,
} from "@caisson/contract";
import { z } from "zod";

/** Longest reason of a sandbox's state that is sent, in characters. */
const MAX_REASON = 1024;

/** The fields by which a call names a sandbox and the right to it. */
export const refFields = { sandbox_id: z.string().regex(SANDBOX_ID_PATTERN), epoch: z.int().min(0) };

/** A sandbox as a worker tells of it. */
export const wireSandboxSchema = z.object({
  ...refFields,
  state: z.enum(["running", "paused", "unhealthy", "stopped"]),
  provider: z.string().max(64),
  runtime: z.string().max(64).nullable(),
  image: z.string().max(512),
  image_digest: z.string().max(128).nullable(),
  reason: z.string().max(MAX_REASON).optional(),
});

/** What a worker needs to start a sandbox; the environment follows as data, since it may be large. */
export const startParamsSchema = z.strictObject({
  ...refFields,
  provider: z.string().min(1).max(64),
  runtime: z.string().min(1).max(64).optional(),
  image: z.string().min(1).max(512),
  resources: z.strictObject({
    memory_mb: z.int().min(1).optional(),
    vcpus: z.number().positive().optional(),
    pids: z.int().min(1).optional(),
    disk_mb: z.int().min(1).optional(),
  }),
  user: guestUserSchema.optional(),
  workdir: guestPathSchema.optional(),
  network: z.literal("none"),
});

export function refToWire(ref: SandboxRef): { sandbox_id: string; epoch: number } {
  return { sandbox_id: ref.sandboxId, epoch: ref.epoch };
}

export function refFromWire(wire: { sandbox_id: string; epoch: number }): SandboxRef {
  return { sandboxId: wire.sandbox_id, epoch: wire.epoch };
}

export function sandboxToWire(sandbox: HostSandbox): z.input<typeof wireSandboxSchema> {
  return {
    ...refToWire(sandbox),
    state: sandbox.state,
    provider: sandbox.provider,
    runtime: sandbox.runtime,
    image: sandbox.image,
    image_digest: sandbox.imageDigest,
    ...(sandbox.reason === undefined ? {} : { reason: sandbox.reason.slice(0, MAX_REASON) }),
  };
}

/** What cannot be read here cannot be read there either, and keeps its id. */
export function inventoryItemToWire(item: HostSandbox | UnreadSandbox): Readonly<Record<string, unknown>> {
  return item.state === "unread" ? { sandbox_id: item.sandboxId } : sandboxToWire(item);
}

export function sandboxFromWire(wire: z.output<typeof wireSandboxSchema>): HostSandbox {
  return {
    ...refFromWire(wire),
    state: wire.state,
    provider: wire.provider,
    runtime: wire.runtime,
    image: wire.image,
    imageDigest: wire.image_digest,
    ...(wire.reason === undefined ? {} : { reason: wire.reason }),
  };
}

/** Which sandbox something is about that does not fit otherwise; null where that cannot be read either. */
export function sandboxIdOf(item: unknown): string | null {
  const read = z.object({ sandbox_id: refFields.sandbox_id }).safeParse(item);
  return read.success ? read.data.sandbox_id : null;
}

/** A wish without its environment. */
export function startToWire(spec: StartSandbox): z.input<typeof startParamsSchema> {
  const { memoryMb, vcpus, pids, diskMb } = spec.resources;
  return {
    ...refToWire(spec),
    provider: spec.provider,
    runtime: spec.runtime,
    image: spec.image,
    resources: { memory_mb: memoryMb, vcpus, pids, disk_mb: diskMb },
    user: spec.user,
    workdir: spec.workdir,
    network: spec.network,
  };
}

export function startFromWire(wire: z.output<typeof startParamsSchema>, env: Readonly<Record<string, string>>): StartSandbox {
  const { memory_mb: memoryMb, vcpus, pids, disk_mb: diskMb } = wire.resources;
  const resources: Resources = {
    ...(memoryMb === undefined ? {} : { memoryMb }),
    ...(vcpus === undefined ? {} : { vcpus }),
    ...(pids === undefined ? {} : { pids }),
    ...(diskMb === undefined ? {} : { diskMb }),
  };
  return {
    ...refFromWire(wire),
    provider: wire.provider,
    ...(wire.runtime === undefined ? {} : { runtime: wire.runtime }),
    image: wire.image,
    resources,
    env,
    ...(wire.user === undefined ? {} : { user: wire.user }),
    ...(wire.workdir === undefined ? {} : { workdir: wire.workdir }),
    network: wire.network,
  };
}
