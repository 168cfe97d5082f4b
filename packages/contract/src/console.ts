import { z } from "zod";
import { cursorSchema } from "./field.ts";

/** Query of `GET /sandboxes/{id}/logs`. */
export const consoleQuerySchema = z
  .strictObject({
    lines: z.coerce.number().int().min(1).max(10_000).optional().meta({ description: "How many of the last lines, default 100" }),
    after: cursorSchema.optional().meta({ description: "Instead: the lines after this cursor, `next_cursor` of the answer before" }),
    limit: z.coerce.number().int().min(1).max(10_000).optional().meta({ description: "With `after`: most lines, default 1000" }),
  })
  .refine((query) => query.after === undefined || query.lines === undefined, { path: ["lines"], error: "cannot be combined with after" })
  .refine((query) => query.after !== undefined || query.limit === undefined, { path: ["limit"], error: "needs after" });
export type ConsoleQuery = z.infer<typeof consoleQuerySchema>;

/** A piece of a console. */
export const consolePageSchema = z
  .strictObject({
    lines: z.array(z.string()).meta({ description: "Oldest first" }),
    next_cursor: z.string().meta({ description: "Where the lines after these begin" }),
    truncated: z.boolean().meta({ description: "Lines after the cursor, or of the number asked for, are no longer kept or too many" }),
  })
  .meta({ id: "ConsolePage" });
export type ConsolePage = z.infer<typeof consolePageSchema>;

/** Query of `GET /sandboxes/{id}/logs/stream`. */
export const followConsoleQuerySchema = z.strictObject({
  after: cursorSchema.optional().meta({ description: "Begin after this cursor. Default: with the last lines" }),
  lines: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .optional()
    .meta({ description: "Without `after`: how many of the last lines, default 100" }),
});
export type FollowConsoleQuery = z.infer<typeof followConsoleQuerySchema>;
