import { SANDBOX_ID_PATTERN, WORKER_ID_PATTERN } from "@caisson/contract";
import { z } from "zod";
import { problemSchema } from "../http/problem-schema.ts";

/** Path parameters of a sandbox. What does not look like an id is answered as one that does not exist. */
export const sandboxParams: z.ZodObject<{ id: z.ZodString }, z.core.$strict> = z.strictObject({
  id: z
    .string()
    .regex(SANDBOX_ID_PATTERN)
    .meta({ description: "Id of the sandbox", examples: ["sb1hfqv8k3m00a1b2c3d4e5"] }),
});

/** Path parameters of a worker. What does not look like an id is answered as one that does not exist. */
export const workerParams: z.ZodObject<{ worker_id: z.ZodString }, z.core.$strict> = z.strictObject({
  worker_id: z
    .string()
    .regex(WORKER_ID_PATTERN)
    .meta({ description: "Id of the worker", examples: ["worker-a"] }),
});

/** Path parameters of a process in a sandbox. */
export const processParams: z.ZodObject<{ id: z.ZodString; process_id: z.ZodString }, z.core.$strict> = z.strictObject({
  id: sandboxParams.shape.id,
  process_id: z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .meta({ description: "Id of the process in its sandbox", examples: ["7"] }),
});

/** Path parameters of a resumable upload in a sandbox. */
export const uploadParams: z.ZodObject<{ id: z.ZodString; upload_id: z.ZodString }, z.core.$strict> = z.strictObject({
  id: sandboxParams.shape.id,
  upload_id: z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .meta({ description: "Id of the upload in its sandbox", examples: ["3"] }),
});

/** Path parameters of a watch in a sandbox. */
export const watchParams: z.ZodObject<{ id: z.ZodString; watch_id: z.ZodString }, z.core.$strict> = z.strictObject({
  id: sandboxParams.shape.id,
  watch_id: z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .meta({ description: "Id of the watch in its sandbox", examples: ["2"] }),
});

/** Query of routes that a token opens, too. */
export const tokenQuery: z.ZodObject<{ token: z.ZodOptional<z.ZodString> }, z.core.$strict> = z.strictObject({
  token: z.string().max(4096).optional().meta({ description: "A token instead of a key, for browsers" }),
});

/** Path parameters of a code context in a sandbox. */
export const codeContextParams: z.ZodObject<{ id: z.ZodString; context_id: z.ZodString }, z.core.$strict> = z.strictObject({
  id: sandboxParams.shape.id,
  context_id: z
    .string()
    .regex(/^[1-9]\d{0,14}$/)
    .meta({ description: "Id of the context in its sandbox", examples: ["7"] }),
});

/** Every route may answer with an error. */
export const errors: { readonly default: Content<{ "application/problem+json": typeof problemSchema }> } = {
  default: content("An error", { "application/problem+json": problemSchema }),
};

/** Raw bytes, for the API reference. */
export const bytesSchema: z.ZodString = z.string().meta({ format: "binary" });

/** An answer by its media types. */
export interface Content<Types extends Record<string, z.ZodType>> {
  readonly description: string;
  readonly content: { readonly [Type in keyof Types]: { readonly schema: Types[Type] } };
}

/** An answer of several media types. */
export function content<Types extends Record<string, z.ZodType>>(description: string, types: Types): Content<Types> {
  const entries = Object.entries(types).map(([type, schema]) => [type, { schema }]);
  return { description, content: Object.fromEntries(entries) as Content<Types>["content"] };
}
