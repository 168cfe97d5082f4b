import { z } from "zod";
import { guestPathSchema, guestUserSchema } from "./field.ts";

/** A place in a watch: `<watch>-<seq>`. It is the id of each event, and what a client resumes at. */
export const WATCH_PLACE_PATTERN: RegExp = /^[1-9]\d{0,14}-\d{1,15}$/;

/** Query of `GET /sandboxes/{id}/files/watch`. */
export const watchFilesQuerySchema = z.strictObject({
  path: guestPathSchema,
  recursive: z.enum(["true", "false"]).optional().meta({ description: "Also all folders below, those made later included" }),
  user: guestUserSchema.optional(),
  after: z
    .string()
    .regex(WATCH_PLACE_PATTERN, { error: "must be the id of an event of a watch" })
    .optional()
    .meta({ description: "Id of the last event seen, as the header `Last-Event-ID`: goes on with the same watch" }),
});

/** Event `ready`: the watch is on, and nothing after `seq` was missed. */
export const watchReadySchema = z
  .strictObject({ watch_id: z.int(), seq: z.int().meta({ description: "Changes told before this stream" }) })
  .meta({ id: "WatchReady" });

/** Event `change`. */
export const fileChangeSchema = z
  .strictObject({
    seq: z.int().meta({ description: "Grows by one per change" }),
    kind: z.enum(["created", "modified", "deleted", "moved", "attributes"]),
    path: z.string(),
    is_dir: z.boolean(),
    from: z.string().optional().meta({ description: "Old path of what was moved" }),
  })
  .meta({ id: "FileChange" });
export type FileChangeEvent = z.infer<typeof fileChangeSchema>;

/** Event `gap`: the changes `[from, to)` are lost, the reader was too slow. */
export const watchGapSchema = z.strictObject({ from: z.int(), to: z.int() }).meta({ id: "WatchGap" });

/** Event `overflow`: the kernel dropped changes; read the folder again. */
export const watchOverflowSchema = z.strictObject({ seq: z.int() }).meta({ id: "WatchOverflow" });

/** Event `reset`: the watch that was asked for is gone and a new one has begun; changes in between may have been missed. */
export const watchResetSchema = z.strictObject({ reason: z.string() }).meta({ id: "WatchReset" });
