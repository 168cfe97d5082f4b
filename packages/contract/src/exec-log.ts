import { z } from "zod";
import { cursorSchema } from "./field.ts";

/**
 * How a process was started: `exec` and waited for, in the `background`, over a `socket`, in a `terminal`, to run `code`;
 * `unknown` when the server that started it died before it could write that down.
 */
export const PROCESS_KINDS = ["exec", "background", "socket", "terminal", "code", "unknown"] as const;
export type ProcessKind = (typeof PROCESS_KINDS)[number];

/** A process that was started in a sandbox. */
export const execLogEntrySchema = z
  .strictObject({
    sandbox_id: z.string(),
    process_id: z.int().meta({ description: "Id of the process in its sandbox" }),
    kind: z.enum(PROCESS_KINDS).meta({ description: "How it was started" }),
    command: z.string().meta({ description: "The shell line or the program, as it was given" }),
    args: z.array(z.string()),
    cut: z.boolean().meta({ description: "Whether `command` or `args` are longer than what is kept, 8192 characters in all" }),
    user: z.string().nullable().meta({ description: "As given; null: the sandbox's" }),
    workdir: z.string().nullable().meta({ description: "As given; null: the sandbox's" }),
    started_at: z.iso.datetime(),
    ended_at: z.iso.datetime().nullable().meta({ description: "Null while it runs" }),
    duration_ms: z.number().nullable(),
    exit_code: z.int().nullable().meta({
      description: "128 + n when signal n ended it. Null while it runs, and when its end was not seen: it ended with its sandbox",
    }),
    signal: z.string().nullable(),
    timed_out: z.boolean(),
    stdout_bytes: z.int().nullable().meta({ description: "Bytes written" }),
    stderr_bytes: z.int().nullable(),
    key: z.string().nullable().meta({ description: "Name of the key of who started it" }),
    request_id: z.string().nullable().meta({ description: "Finds the request in the server's log" }),
  })
  .meta({ id: "ExecLogEntry" });
export type ExecLogEntry = z.infer<typeof execLogEntrySchema>;

/** Query of `GET /sandboxes/{id}/exec-log`. */
export const execLogQuerySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(1000).optional().meta({ description: "Page size, default 100" }),
  cursor: cursorSchema.optional(),
});
export type ExecLogQuery = z.infer<typeof execLogQuerySchema>;

export const execLogPageSchema = z
  .strictObject({ items: z.array(execLogEntrySchema), next_cursor: z.string().nullable() })
  .meta({ id: "ExecLogPage" });
export type ExecLogPage = z.infer<typeof execLogPageSchema>;
