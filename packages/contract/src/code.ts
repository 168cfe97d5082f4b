import { z } from "zod";
import { durationSchema, envSchema, guestPathSchema, guestUserSchema } from "./field.ts";

/** Languages that code contexts speak. */
export const CODE_LANGUAGES = ["python", "javascript", "shell"] as const;
export type CodeLanguage = (typeof CODE_LANGUAGES)[number];

/** Format of a table among the formats of a result: `{columns, rows, total_rows}`. */
export const TABLE_FORMAT = "application/vnd.caisson.table+json";

const languageSchema = z.enum(CODE_LANGUAGES).meta({ id: "CodeLanguage", description: "The language" });
const contextIdSchema = z
  .int()
  .min(1)
  .meta({ description: "Id of the context: that of its process in the sandbox", examples: [7] });

/** Body of `POST /sandboxes/{id}/code`. */
export const runCodeSchema = z
  .strictObject({
    code: z
      .string()
      .max(1_048_576)
      .meta({ description: "The code", examples: ["x = 6 * 7\nx"] }),
    language: languageSchema.optional().meta({ description: "Default: that of the context, else `python`" }),
    context_id: contextIdSchema
      .optional()
      .meta({ description: "Default: the default context of the language and user, made on first use" }),
    timeout: durationSchema.optional().meta({
      description:
        "Counted from when the code begins. The code is then interrupted, and when it does not stop, its context is killed. `0` for none. Default: `defaults.exec_timeout`",
      examples: ["30s"],
    }),
    stream: z.boolean().optional().meta({ description: "Answer as NDJSON while the code runs" }),
    env: envSchema.optional().meta({ description: "Variables set in the context before the code runs; they stay" }),
    workdir: guestPathSchema.optional().meta({ description: "Folder the context changes to before the code runs; it stays there" }),
    user: guestUserSchema.optional().meta({ description: "Whose default context. Not together with `context_id`" }),
  })
  .refine((body) => body.context_id === undefined || body.user === undefined, {
    path: ["user"],
    error: "cannot be combined with context_id: a context has its user",
  })
  .meta({ id: "RunCode" });
export type RunCode = z.infer<typeof runCodeSchema>;

/** A value that the code shows, in every form that it has. */
export const codeResultSchema = z
  .strictObject({
    is_main_result: z.boolean().meta({ description: "Whether it is the value of the last expression, rather than shown with `display`" }),
    formats: z.record(z.string().max(256), z.unknown()).meta({
      description:
        "Content by format: `text/plain`, `text/html`, `image/svg+xml` and the like as text, `image/png` and other pictures in base64, `application/json` as a value, tables as `application/vnd.caisson.table+json` with `columns`, at most 1000 `rows`, and `total_rows`; of shell code `application/json` with `exit_code`",
    }),
    omitted: z.array(z.string()).meta({ description: "Formats that were left out because they are larger than 4 MiB" }),
  })
  .meta({ id: "CodeResult" });
export type CodeResult = z.infer<typeof codeResultSchema>;

/** What went wrong in the code, or with its context. */
export const codeErrorSchema = z
  .strictObject({
    name: z.string().meta({ description: "Kind of the error, such as `ValueError`; `ContextEnded` when the interpreter has gone" }),
    message: z.string(),
    traceback: z.string().meta({ description: "Where in the code; empty when that is not known" }),
  })
  .meta({ id: "CodeError" });
export type CodeError = z.infer<typeof codeErrorSchema>;

const outcomeFields = {
  execution_id: z.string().meta({ description: "Id of this run of code" }),
  context_id: contextIdSchema,
  status: z
    .enum(["ok", "error", "interrupted", "timed_out"])
    .meta({ description: "How the code ended. `error` is a result, not a failure" }),
  error: codeErrorSchema.nullable().meta({ description: "Null when it ended well" }),
  duration_ms: z.number().meta({ description: "Run time in ms" }),
  context_ended: z.boolean().meta({ description: "Whether the context has gone with it; the next call makes a new default one" }),
};

/** Answer of `POST /sandboxes/{id}/code`. */
export const codeOutcomeSchema = z
  .strictObject({
    ...outcomeFields,
    stdout: z.string().meta({ description: "What is not UTF-8 is replaced by U+FFFD" }),
    stdout_truncated: z.boolean().meta({ description: "Whether `stdout` holds less than was written: at most 16 MiB" }),
    stderr: z.string(),
    stderr_truncated: z.boolean(),
    results: z.array(codeResultSchema),
  })
  .meta({ id: "CodeOutcome" });
export type CodeOutcome = z.infer<typeof codeOutcomeSchema>;

/** One line of a streamed answer. The last line is `end` or `error`, always. */
export const codeRecordSchema = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("start"), execution_id: z.string(), context_id: contextIdSchema }),
    z.strictObject({ type: z.literal("stdout"), text: z.string() }),
    z.strictObject({ type: z.literal("stderr"), text: z.string() }),
    z.strictObject({ type: z.literal("result"), ...codeResultSchema.shape }),
    z.strictObject({ type: z.literal("alive") }).meta({ description: "Every 15 s: code that says nothing still runs" }),
    z.strictObject({ type: z.literal("end"), ...outcomeFields }),
    z.strictObject({ type: z.literal("error"), code: z.string(), message: z.string(), remedy: z.string() }),
  ])
  .meta({ id: "CodeRecord" });
export type CodeRecord = z.infer<typeof codeRecordSchema>;

/** Body of `POST /sandboxes/{id}/code/contexts`. */
export const createCodeContextSchema = z
  .strictObject({
    language: languageSchema,
    workdir: guestPathSchema.optional().meta({ description: "Working directory. Default: the sandbox's" }),
    user: guestUserSchema.optional(),
    env: envSchema.optional(),
  })
  .meta({ id: "CreateCodeContext" });
export type CreateCodeContext = z.infer<typeof createCodeContextSchema>;

/** Body of `POST …/code/contexts/{context_id}/restart`. */
export const restartCodeContextSchema = z
  .strictObject({ env: envSchema.optional().meta({ description: "Variables of the new one; those of the old one are not kept" }) })
  .meta({ id: "RestartCodeContext" });
export type RestartCodeContext = z.infer<typeof restartCodeContextSchema>;

/** An interpreter that keeps its state between runs of code. */
export const codeContextSchema = z
  .strictObject({
    context_id: contextIdSchema,
    language: languageSchema,
    is_default: z.boolean().meta({ description: "Whether calls without `context_id` use it" }),
    user: z.string(),
    workdir: z.string().meta({ description: "Where it was started" }),
    started_at: z.iso.datetime(),
  })
  .meta({ id: "CodeContext" });
export type CodeContext = z.infer<typeof codeContextSchema>;

export const codeContextListSchema = z.strictObject({ items: z.array(codeContextSchema) }).meta({ id: "CodeContextList" });
