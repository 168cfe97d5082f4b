import { z } from "zod";
import { errorRecordSchema } from "./exec.ts";
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

/** Who may see a port. */
export const portVisibilitySchema = z
  .strictObject({
    port: portSchema.shape.port,
    published: portSchema.shape.published,
    public: portSchema.shape.public,
    url: portSchema.shape.url,
  })
  .meta({ id: "PortVisibility" });
export type PortVisibility = z.infer<typeof portVisibilitySchema>;

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

/** Query of `GET /sandboxes/{id}/ports/{port}/connect`. */
export const connectPortQuerySchema = z.strictObject({
  token: z.string().max(4096).optional().meta({ description: "A token of this port instead of a key, for browsers" }),
  window: z.coerce.number().int().min(1024).max(4_194_304).optional().meta({
    description:
      "Most bytes that either side sends before the other has acknowledged some by `ack`. Default: no bound, the connection alone slows the sender",
  }),
});

/** Every text message of a connection to a port, of either side. Binary messages are its bytes. */
export const portSignSchema = z
  .discriminatedUnion("type", [
    z.strictObject({ type: z.literal("connected") }).meta({ description: "Only from the server, first: the connection is there" }),
    z.strictObject({ type: z.literal("end") }).meta({ description: "No more bytes come from this side; the other may go on" }),
    z
      .strictObject({ type: z.literal("ack"), bytes: z.int().min(1) })
      .meta({ description: "Bytes taken since the last `ack`; only with `window`" }),
    errorRecordSchema,
  ])
  .meta({ id: "PortSocketSign" });
export type PortSign = z.infer<typeof portSignSchema>;

/** What a client may say in text. */
export const portControlSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("end") }),
  z.strictObject({ type: z.literal("ack"), bytes: z.int().min(1) }),
]);
export type PortControl = z.infer<typeof portControlSchema>;
