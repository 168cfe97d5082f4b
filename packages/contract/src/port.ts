import { z } from "zod";
import { positiveDurationSchema } from "./field.ts";

/** Life of a port's link unless it is asked for, in ms. */
export const DEFAULT_PORT_TOKEN_MS = 3_600_000;

/** Longest life of a port's link, in ms. */
export const MAX_PORT_TOKEN_MS = 86_400_000;

/** Name of the query parameter that carries a port's token. */
export const PREVIEW_TOKEN_PARAMETER = "caisson_token";

/** What a port looks like in a path. */
export const PORT_PATTERN: RegExp = /^[1-9]\d{0,4}$/;

/** A TCP port of a sandbox. */
export const portSchema = z
  .strictObject({
    port: z.int().min(1).max(65_535),
    listening: z.boolean().meta({ description: "Whether something listens there now; false only for published ones" }),
    address: z
      .string()
      .nullable()
      .meta({ description: "Address it is bound to", examples: ["127.0.0.1"] }),
    pid: z.int().nullable().meta({ description: "Who listens, where it can be told" }),
    command: z.string().nullable(),
    user: z.string().nullable(),
    published: z.boolean().meta({ description: "Whether its visibility was set" }),
    public: z.boolean().meta({ description: "Whether its preview needs no key and no token" }),
    url: z.url().meta({ description: "Its preview" }),
  })
  .meta({ id: "Port" });
export type Port = z.infer<typeof portSchema>;

export const portListSchema = z.strictObject({ items: z.array(portSchema) }).meta({ id: "PortList" });
export type PortList = z.infer<typeof portListSchema>;

/** Body of `PUT /sandboxes/{id}/ports/{port}`. */
export const publishPortSchema = z
  .strictObject({
    public: z.boolean().meta({ description: "True: anyone who knows the URL may open it. False: a key or token is needed" }),
  })
  .meta({ id: "PublishPort" });
export type PublishPort = z.infer<typeof publishPortSchema>;

/** A published port. */
export const publishedPortSchema = z
  .strictObject({ port: z.int(), public: z.boolean(), url: z.url().meta({ description: "Its preview" }) })
  .meta({ id: "PublishedPort" });
export type PublishedPort = z.infer<typeof publishedPortSchema>;

/** Body of `POST /sandboxes/{id}/ports/{port}/token`. */
export const createPortTokenSchema = z
  .strictObject({
    ttl: positiveDurationSchema.optional().meta({ description: "How long it opens the port. Default 1h, at most 24h", examples: ["1h"] }),
  })
  .meta({ id: "CreatePortToken" });
export type CreatePortToken = z.infer<typeof createPortTokenSchema>;

/** A link to a port. */
export const portTokenSchema = z
  .strictObject({
    token: z.string(),
    url: z.url().meta({ description: "Opens the preview in a browser" }),
    expires_at: z.iso.datetime(),
  })
  .meta({ id: "PortToken" });
export type PortToken = z.infer<typeof portTokenSchema>;
