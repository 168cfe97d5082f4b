import { z } from "zod";
import { durationSchema } from "./field.ts";
import { errorRecordSchema, exitRecordSchema, gapRecordSchema, processFields, signalRequestSchema, terminalSizeSchema } from "./exec.ts";

/** Bytes of output that may be under way unacknowledged, when the client wants to be asked. */
const windowSchema = z.int().min(1024).max(67_108_864).optional().meta({
  description: "Most bytes of output sent but not acknowledged by `ack`. Default: no bound, the connection alone slows the server",
});

/** A first message that starts a process. */
export const execStartSchema = z
  .strictObject({
    type: z.literal("start"),
    ...processFields,
    timeout: durationSchema
      .optional()
      .meta({ description: "The whole process tree is killed after it. `0` for none. Default: `defaults.exec_timeout`" }),
    stdin: z.boolean().optional().meta({ description: "Whether it reads what the client sends. Default true" }),
    window: windowSchema,
    kill_on_disconnect: z.boolean().optional().meta({ description: "Kill the process tree when the client goes away. Default false" }),
  })
  .meta({ id: "ExecSocketStart" });
export type ExecStart = z.infer<typeof execStartSchema>;

/** A first message that goes on with a process that is there. */
export const execAttachSchema = z
  .strictObject({
    type: z.literal("attach"),
    process_id: z.int().min(1).max(999_999_999_999_999),
    stdout_offset: z.int().min(0).optional().meta({ description: "First byte wanted. Default: the oldest kept" }),
    stderr_offset: z.int().min(0).optional(),
    window: windowSchema,
  })
  .meta({ id: "ExecSocketAttach" });
export type ExecAttach = z.infer<typeof execAttachSchema>;

/** The first message of a client. */
export const execOpeningSchema = z.discriminatedUnion("type", [execStartSchema, execAttachSchema]);
export type ExecOpening = z.infer<typeof execOpeningSchema>;

/** Every later text message of a client. Its binary messages are standard input. */
export const execControlSchema = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("resize"), ...terminalSizeSchema.shape }),
    z.strictObject({ type: z.literal("signal"), ...signalRequestSchema.shape }),
    z.strictObject({ type: z.literal("close_stdin") }),
    z.strictObject({
      type: z.literal("ack"),
      bytes: z.int().min(1).meta({ description: "Bytes of output taken since the last `ack`; only with `window`" }),
    }),
    z.strictObject({ type: z.literal("ping") }),
  ])
  .meta({ id: "ExecSocketControl" });
export type ExecControl = z.infer<typeof execControlSchema>;

/** Every text message of the server. Its binary messages are output: one byte for the stream (1 stdout, 2 stderr), then bytes. */
export const execSignSchema = z
  .discriminatedUnion("type", [
    z.strictObject({
      type: z.literal("started"),
      process_id: z.int(),
      pid: z.int(),
      pty: z.boolean(),
      stdout_offset: z.int().meta({ description: "Offset of the first byte that follows" }),
      stderr_offset: z.int(),
    }),
    gapRecordSchema,
    z
      .strictObject({ type: z.literal("stdin_closed"), code: z.string(), message: z.string() })
      .meta({ description: "Standard input is not taken (any more); what is sent to it is dropped" }),
    z.strictObject({ type: z.literal("pong") }),
    exitRecordSchema,
    errorRecordSchema,
  ])
  .meta({ id: "ExecSocketSign" });
export type ExecSign = z.infer<typeof execSignSchema>;

/** Close code of a conversation that ended with an error of this HTTP status: 4404 for 404. */
export function closeCodeOf(status: number): number {
  return 4000 + status;
}
