import { z } from "zod";
import { parseDuration } from "./duration.ts";

/** A duration on the wire: `30s`, `5m`, `1h30m`, `250ms`. */
export const durationSchema = z
  .string()
  .refine((text) => parseDuration(text) !== undefined, { error: "is not a duration; write for example 30s, 5m or 1h30m" })
  .meta({ id: "Duration", description: "A duration such as `30s`, `5m`, `1h30m` or `250ms`", examples: ["5m"] });

/** A duration longer than nothing. */
export const positiveDurationSchema = durationSchema.refine((text) => (parseDuration(text) ?? 1) > 0, {
  error: "must be longer than nothing",
});

/** An absolute path inside a sandbox. `..` is resolved inside it. */
export const guestPathSchema = z
  .string()
  .min(1)
  .max(4096)
  .startsWith("/", { error: "must be an absolute path" })
  .refine((path) => !path.includes("\0"), { error: "must not contain a NUL" })
  .meta({ description: "An absolute path inside the sandbox", examples: ["/home/user/a.txt"] });

/** A file mode as octal digits. */
export const fileModeSchema = z
  .string()
  .regex(/^0?[0-7]{3,4}$/, { error: "must be octal digits such as 0644" })
  .meta({ description: "A file mode in octal digits", examples: ["0644"] });

/** A user inside a sandbox: a name, a uid, or `uid:gid`. */
export const guestUserSchema = z
  .string()
  .regex(/^(?:[a-zA-Z_][a-zA-Z0-9_.-]{0,31}|\d{1,10}(?::\d{1,10})?)$/, { error: "must be a user name, a uid, or uid:gid" })
  .meta({ description: "A user of the sandbox: name, uid, or `uid:gid`. Default: the image's user", examples: ["root"] });

/** Environment variables. */
export const envSchema = z
  .record(
    z.string().regex(/^[^=\0]{1,256}$/, { error: "a name must not be empty or contain = or NUL" }),
    z
      .string()
      .max(131_072)
      .refine((value) => !value.includes("\0"), { error: "must not contain a NUL" }),
  )
  .refine((env) => Object.keys(env).length <= 1024, { error: "has more than 1024 variables" })
  .meta({ description: "Environment variables" });

/** Labels of a sandbox's owner; not interpreted. */
export const metadataSchema = z
  .record(z.string().min(1).max(128), z.string().max(1024))
  .refine((map) => Object.keys(map).length <= 64, { error: "has more than 64 entries" })
  .meta({ description: "Free labels, at most 64; lists can be filtered by them" });

/** A page cursor: opaque, from `next_cursor` of the page before. */
export const cursorSchema = z.string().max(256).meta({ description: "Where the page starts: `next_cursor` of the page before" });
