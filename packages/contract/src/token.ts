import { z } from "zod";
import { positiveDurationSchema } from "./field.ts";

/** Longest life of a token, in ms. */
export const MAX_TOKEN_TTL_MS = 86_400_000;

/** Body of `POST /sandboxes/{id}/tokens`. */
export const createTokenSchema = z
  .strictObject({
    action: z.literal("exec").meta({ description: "What it opens: `exec`, interactive processes over WebSocket" }),
    ttl: positiveDurationSchema.optional().meta({ description: "How long it opens it. Default 5m, at most 24h", examples: ["5m"] }),
  })
  .meta({ id: "CreateToken" });
export type CreateToken = z.infer<typeof createTokenSchema>;

/** A token: it does for a key as the query's `token`, in one sandbox, for one action, until its time. */
export const tokenSchema = z
  .strictObject({ token: z.string(), action: z.literal("exec"), expires_at: z.iso.datetime() })
  .meta({ id: "Token" });
export type Token = z.infer<typeof tokenSchema>;
