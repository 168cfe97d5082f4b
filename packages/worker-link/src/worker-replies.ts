import { CaissonError, imageSchema, isErrorCode, wireProviderReportSchema, type ErrorCode } from "@caisson/contract";
import { z } from "zod";
import { refFields, wireSandboxSchema } from "./wire-sandbox.ts";

const errorCode = z
  .string()
  .max(64)
  .transform((code): ErrorCode => (isErrorCode(code) ? code : "internal"));

/** An image, as another version tells of it. */
const wireImageSchema = z.object({ ...imageSchema.shape, name: z.string().max(512) });

/** Replies of a worker. Fields of later versions are let pass and left out. */
export const sandboxReplySchema = z.object({ sandbox: wireSandboxSchema });
export const statusReplySchema = z.object({ sandbox: wireSandboxSchema.nullable() });
export const describeReplySchema = z.object({
  worker_id: z.string().max(63),
  version: z.string().max(64),
  preview_domain: z.string().max(253).nullable(),
  providers: z.array(wireProviderReportSchema).max(32),
});
export const usageReplySchema = z.object({ cpu_ms: z.int().min(0).nullable() });
export const imageReplySchema = z.object({ image: wireImageSchema });
export const consoleEndSchema = z.object({
  type: z.literal("console_end"),
  // No more are ever asked for.
  lines: z.int().min(0).max(10_000),
  end: z.int().min(0),
  truncated: z.boolean(),
});

/** Items of lists that come as events, each list by the type of its events. */
export const LISTED = {
  sandboxes: wireSandboxSchema,
  images: wireImageSchema,
  done: z.object(refFields),
  refused: z.object({ ...refFields, code: errorCode, reason: z.string().max(1024) }),
} as const;
export type Listed = keyof typeof LISTED;

/** Reads what a worker said. Throws `protocol_error`: it is another version of ours, or none of ours. */
export function readReply<T>(method: string, schema: z.ZodType<T>, value: unknown): T {
  const read = schema.safeParse(value);
  if (read.success) return read.data;
  const issue = read.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? "" : ` ${issue.path.map(String).join(".").slice(0, 128)}:`;
  throw new CaissonError("protocol_error", `The answer to ${method} does not fit:${where} ${issue?.message.slice(0, 256) ?? ""}`);
}
