import { z } from "zod";
import { SANDBOX_ID_PATTERN, type Resources } from "@caisson/contract";
import type { Handle } from "@caisson/providers";

/** What is kept of the wish that made a box. The environment is left out: it may hold secrets, and nothing reads it back. */
export interface RecordedSpec {
  readonly image: string;
  readonly resources: Resources;
  readonly user?: string | undefined;
  readonly workdir?: string | undefined;
}

/** A box that is being started, runs, or has stopped and was not destroyed yet. */
export interface BoxRecord {
  readonly version: 1;
  readonly kind: "box";
  readonly sandbox_id: string;
  readonly epoch: number;
  /** `starting`: written before the provider was asked. `stopped`: its process 1 has ended. */
  readonly phase: "starting" | "running" | "stopped";
  readonly provider: string;
  readonly runtime: string | null;
  readonly image_digest: string | null;
  /** What the image store holds for it; null when unknown. */
  readonly image_content: string | null;
  /** Null when the box was found without a record. */
  readonly spec: RecordedSpec | null;
  /** Null while starting. */
  readonly handle: Handle | null;
  /** Why it stopped. */
  readonly reason: string | null;
}

/** What is remembered of a sandbox that is here no more, so that a late call of an old epoch is refused. */
export interface EndedRecord {
  readonly version: 1;
  readonly kind: "ended";
  readonly sandbox_id: string;
  readonly epoch: number;
  /** True: by destroy, this epoch never starts again. False: its start failed and may be tried again. */
  readonly destroyed: boolean;
  readonly at_ms: number;
}

export type SandboxRecord = BoxRecord | EndedRecord;

const id = z.string().regex(SANDBOX_ID_PATTERN);
const epoch = z.int().min(0);

/** One file of the records folder. */
export const recordSchema: z.ZodType<SandboxRecord> = z.discriminatedUnion("kind", [
  z.strictObject({
    version: z.literal(1),
    kind: z.literal("box"),
    sandbox_id: id,
    epoch,
    phase: z.enum(["starting", "running", "stopped"]),
    provider: z.string(),
    runtime: z.string().nullable(),
    image_digest: z.string().nullable(),
    image_content: z.string().nullable(),
    spec: z
      .strictObject({
        image: z.string(),
        resources: z.strictObject({
          memoryMb: z.number().optional(),
          vcpus: z.number().optional(),
          pids: z.number().optional(),
          diskMb: z.number().optional(),
        }) as z.ZodType<Resources>,
        user: z.string().optional(),
        workdir: z.string().optional(),
      })
      .nullable(),
    handle: z.strictObject({ version: z.int(), provider: z.string(), state: z.record(z.string(), z.unknown()) }).nullable(),
    reason: z.string().nullable(),
  }),
  z.strictObject({
    version: z.literal(1),
    kind: z.literal("ended"),
    sandbox_id: id,
    epoch,
    destroyed: z.boolean(),
    at_ms: z.int(),
  }),
]);
