import { z } from "zod";
import { durationSchema, envSchema, guestPathSchema, guestUserSchema, positiveDurationSchema } from "./field.ts";

/** Most bytes per stream that a JSON answer carries; more is cut, and said so. */
export const EXEC_JSON_LIMIT = 16_777_216;

/** Size of a terminal, in characters. */
export const terminalSizeSchema = z
  .strictObject({
    cols: z.int().min(1).max(4096).meta({ description: "Columns" }),
    rows: z.int().min(1).max(4096).meta({ description: "Lines" }),
  })
  .meta({ id: "TerminalSize" });
export type TerminalSize = z.infer<typeof terminalSizeSchema>;

/** Resource limits of one process and what it starts; never above the sandbox's. */
export const processLimitsSchema = z
  .strictObject({
    cpu_time: positiveDurationSchema
      .optional()
      .meta({ description: "CPU time of each process, in whole seconds; beyond it `XCPU` ends the process", examples: ["30s"] }),
    memory_mb: z.int().min(1).max(16_777_216).optional().meta({ description: "Address space of each process, in MiB" }),
    open_files: z.int().min(3).max(1_048_576).optional().meta({ description: "Open files of each process" }),
    file_size_mb: z.int().min(0).max(16_777_216).optional().meta({ description: "Largest file that it may write, in MiB" }),
  })
  .meta({ id: "ProcessLimits" });
export type ProcessLimits = z.infer<typeof processLimitsSchema>;

/** A label of a process, by which lists can be filtered. */
export const processTagSchema = z
  .string()
  .regex(/^[\w.:/@-]{1,128}$/, { error: "must be 1 to 128 letters, digits, or . _ : / @ -" })
  .meta({ description: "A label of yours; `GET …/processes?tag=` finds the process by it", examples: ["build"] });

/** Fields of every request that starts a process. */
export const processFields = {
  command: z
    .string()
    .min(1)
    .max(1_048_576)
    .meta({ description: "A shell line; with `args`, the program", examples: ["echo hello"] }),
  args: z
    .array(z.string().max(131_072))
    .max(4096)
    .optional()
    .meta({ description: "Arguments. With `mode` argv they are passed as they are; with `shell` they are quoted and appended" }),
  mode: z.enum(["shell", "argv"]).optional().meta({ description: "Default: `argv` when `args` is there, else `shell`" }),
  env: envSchema.optional(),
  workdir: guestPathSchema.optional().meta({ description: "Working directory. Default: the sandbox's" }),
  user: guestUserSchema.optional(),
  pty: terminalSizeSchema.optional().meta({
    description: "Run it in a terminal of this size; all it writes is then `stdout`",
  }),
  output_limit: z
    .int()
    .min(4096)
    .max(1_073_741_824)
    .optional()
    .meta({ description: "Bytes of output kept per stream in the sandbox. Default 64 MiB" }),
  on_full: z.enum(["block", "drop"]).optional().meta({
    description:
      "When that is full: stop the writer, or drop the oldest bytes and report a gap. With `block` as many bytes again, at most 16 MiB, are kept behind what the slowest reader took, so that one whose connection breaks goes on without a gap. Default: `block`, in the background `drop`",
  }),
  limits: processLimitsSchema.optional().meta({ description: "Resource limits. Default: the sandbox's" }),
  tag: processTagSchema.optional(),
};

/** How a process runs, however it is started. */
export type ProcessFields = z.infer<z.ZodObject<typeof processFields, z.core.$strict>> & { timeout?: string | undefined };

/** Body of `POST /sandboxes/{id}/exec`. */
export const execRequestSchema = z
  .strictObject({
    ...processFields,
    timeout: durationSchema.optional().meta({
      description: "The whole process tree is killed after it and the answer is 408. `0` for none. Default: `defaults.exec_timeout`",
      examples: ["30s"],
    }),
    stdin: z.string().max(8_388_608).optional().meta({ description: "Text for standard input, then end of file. Default: empty" }),
    stdin_base64: z.base64().max(11_184_812).optional().meta({ description: "Bytes for standard input, instead of `stdin`" }),
    stdin_open: z.boolean().optional().meta({
      description: "Keep standard input open after that, for `POST …/processes/{process_id}/stdin`. Needs `stream` or `background`",
    }),
    stream: z.boolean().optional().meta({ description: "Answer as NDJSON while the command runs" }),
    background: z.boolean().optional().meta({ description: "Answer at once with the process; read its output later" }),
  })
  .refine((body) => body.stdin === undefined || body.stdin_base64 === undefined, {
    path: ["stdin_base64"],
    error: "cannot be combined with stdin",
  })
  .refine((body) => !(body.stream && body.background), { path: ["background"], error: "cannot be combined with stream" })
  .refine((body) => !body.stdin_open || body.stream || body.background, { path: ["stdin_open"], error: "needs stream or background" })
  .meta({ id: "ExecRequest" });
export type ExecRequest = z.infer<typeof execRequestSchema>;

const exitFields = {
  exit_code: z.int().meta({ description: "Exit status; 128 + n when signal n ended it" }),
  signal: z.string().nullable().meta({ description: "Name of the signal that ended it, such as `KILL`" }),
  duration_ms: z.number().meta({ description: "Run time in ms" }),
};

const encodingSchema = z.enum(["utf8", "base64"]);

/** Answer of a finished exec. */
export const execResultSchema = z
  .strictObject({
    ...exitFields,
    process_id: z.int(),
    stdout: z.string(),
    stdout_encoding: encodingSchema.meta({ description: "`base64` when the bytes are not valid UTF-8" }),
    stdout_bytes: z.int().meta({ description: "Bytes written in all" }),
    stdout_truncated: z.boolean().meta({ description: "Whether `stdout` holds less than was written" }),
    stderr: z.string(),
    stderr_encoding: encodingSchema,
    stderr_bytes: z.int(),
    stderr_truncated: z.boolean(),
  })
  .meta({ id: "ExecResult" });
export type ExecResult = z.infer<typeof execResultSchema>;

/** Bytes of a stream that a reader does not get. */
export const gapRecordSchema = z
  .strictObject({ type: z.literal("gap"), stream: z.enum(["stdout", "stderr"]), from: z.int(), to: z.int() })
  .meta({ description: "Bytes that were dropped before they could be sent" });

/** How a process ended. */
export const exitRecordSchema = z.strictObject({
  type: z.literal("exit"),
  ...exitFields,
  timed_out: z.boolean(),
  stdout_bytes: z.int(),
  stderr_bytes: z.int(),
});

/** Why the end of a process cannot be told. */
export const errorRecordSchema = z.strictObject({ type: z.literal("error"), code: z.string(), message: z.string(), remedy: z.string() });

/** One line of a streamed exec. The last line is `exit` or `error`, always. */
export const execRecordSchema = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("start"), process_id: z.int(), pid: z.int() }),
    z.strictObject({
      type: z.literal("output"),
      stream: z.enum(["stdout", "stderr"]),
      offset: z.int().meta({ description: "Offset of the first byte in its stream" }),
      data: z.string(),
      encoding: z
        .literal("base64")
        .optional()
        .meta({ description: "Present when `data` is base64, because the bytes are not valid UTF-8 or mostly control characters" }),
    }),
    gapRecordSchema,
    exitRecordSchema,
    errorRecordSchema,
  ])
  .meta({ id: "ExecRecord" });
export type ExecRecord = z.infer<typeof execRecordSchema>;

const rangeSchema = z.strictObject({
  start: z.int().meta({ description: "First byte still kept" }),
  end: z.int().meta({ description: "Bytes written so far" }),
});

/** A process in a sandbox. */
export const processSchema = z
  .strictObject({
    process_id: z.int(),
    pid: z.int().meta({ description: "Process id inside the sandbox" }),
    command: z.string(),
    args: z.array(z.string()),
    workdir: z.string(),
    user: z.string(),
    pty: z.boolean().meta({ description: "Whether it has a terminal; all it writes is then `stdout`" }),
    tag: z.string().nullable().meta({ description: "Its label" }),
    started_at: z.iso.datetime(),
    running: z.boolean(),
    stdout: rangeSchema,
    stderr: rangeSchema,
    exit: z.strictObject({ ...exitFields, timed_out: z.boolean() }).nullable(),
  })
  .meta({ id: "Process" });
export type Process = z.infer<typeof processSchema>;

export const processListSchema = z.strictObject({ items: z.array(processSchema) }).meta({ id: "ProcessList" });

/** Query of `GET /sandboxes/{id}/processes`. */
export const listProcessesQuerySchema = z.strictObject({
  tag: processTagSchema.optional().meta({ description: "Only those with this tag" }),
});

/** Query of `GET /sandboxes/{id}/processes/{process_id}/wait`. */
export const waitQuerySchema = z.strictObject({
  timeout: durationSchema
    .optional()
    .meta({ description: "Answer after this time all the same. Default 30s, at most 1h", examples: ["30s"] }),
});

/** Query of `GET /sandboxes/{id}/processes/{process_id}/output`: NDJSON of ExecRecord, or the bytes of one stream. */
export const processOutputQuerySchema = z.strictObject({
  stdout_offset: z.coerce.number().int().min(0).optional().meta({ description: "First byte wanted. Default: the oldest kept" }),
  stderr_offset: z.coerce.number().int().min(0).optional(),
  follow: z.enum(["true", "false"]).optional().meta({ description: "Wait for more until the exit. Default true" }),
  stream: z
    .enum(["stdout", "stderr"])
    .optional()
    .meta({ description: "The one stream wanted as bytes, with `Accept: application/octet-stream`. Default: `stdout`" }),
});
export type ProcessOutputQuery = z.infer<typeof processOutputQuerySchema>;

/** Body of `POST /sandboxes/{id}/processes/{process_id}/signal`. */
export const signalRequestSchema = z
  .strictObject({
    signal: z
      .string()
      .regex(/^[A-Z0-9]{1,12}$/)
      .optional()
      .meta({ description: "Name without SIG, or number. Default TERM", examples: ["KILL"] }),
    scope: z.enum(["leader", "group", "tree"]).optional().meta({ description: "Default: tree" }),
  })
  .meta({ id: "SignalRequest" });
export type SignalRequest = z.infer<typeof signalRequestSchema>;
