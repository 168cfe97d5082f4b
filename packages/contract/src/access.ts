import { z } from "zod";
import { positiveDurationSchema } from "./field.ts";
import { SCOPES, type Scope } from "./guest-methods.ts";

/** Life of access to a worker unless it is asked for, in ms. */
export const DEFAULT_ACCESS_MS = 300_000;

/** Longest life of access to a worker, in ms. */
export const MAX_ACCESS_MS = 3_600_000;

/** What clients can be let do on a worker: all that is done inside a sandbox. */
export const DATA_SCOPES = ["worker:exec", "worker:files", "worker:logs", "worker:status"] as const satisfies readonly Scope[];

/** In `detail` of a worker's error: nothing was done, and a control plane knows more. */
export const ASK_CONTROL_PLANE = { ask: "control_plane" } as const;

/** Body of `POST /sandboxes/{id}/access`. */
export const createAccessSchema = z
  .strictObject({
    ttl: positiveDurationSchema.optional().meta({ description: "How long it lets in. Default 5m, at most 1h", examples: ["5m"] }),
  })
  .meta({ id: "CreateAccess" });
export type CreateAccess = z.infer<typeof createAccessSchema>;

/** A way to the worker of a sandbox itself. */
export const accessSchema = z
  .strictObject({
    url: z.string().nullable().meta({
      description: "Address of the worker, for what is done inside the sandbox: the same paths as here. Null where clients cannot reach it",
    }),
    token: z.string().meta({
      description: "Shown there as `Authorization: Bearer`, for WebSockets as the query's `token`. For this sandbox on this worker only",
    }),
    expires_at: z.iso.datetime(),
    scopes: z.array(z.enum(SCOPES)).meta({ description: "What it lets do" }),
  })
  .meta({ id: "Access" });
export type Access = z.infer<typeof accessSchema>;
