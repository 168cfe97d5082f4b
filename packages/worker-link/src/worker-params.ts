import { CaissonError, importImageQuerySchema, type FieldError, type GuestRouteMethod, type WorkerMethod } from "@caisson/contract";
import { z } from "zod";
import { refFields, startParamsSchema } from "./wire-sandbox.ts";

const none = z.strictObject({});
const ref = z.strictObject(refFields);

/** Parameters of a worker's own methods. What is not named here is refused. */
export const WORKER_PARAMS = {
  "worker.spawn": startParamsSchema,
  "worker.destroy": ref,
  "worker.status": z.strictObject({ sandbox_id: refFields.sandbox_id }),
  "worker.inventory": none,
  "worker.describe": none,
  "worker.usage": ref,
  "worker.logs": z.union([
    z.strictObject({ ...refFields, lines: z.int().min(0).max(10_000) }),
    z.strictObject({ ...refFields, after: z.int().min(0), limit: z.int().min(1).max(10_000) }),
  ]),
  "worker.pause_all": none,
  "worker.resume_all": none,
  "worker.drain": z.strictObject({ draining: z.boolean() }),
  "worker.list_images": none,
  "worker.pull_image": z.strictObject({ reference: z.string().min(1).max(512), force: z.literal(true).optional() }),
  "worker.import_image": z.strictObject({ name: importImageQuerySchema.shape.name }),
  "worker.remove_image": z.strictObject({ name: z.string().min(1).max(512) }),
} as const satisfies Record<WorkerMethod, z.ZodType>;

export type WorkerParams<M extends WorkerMethod> = z.output<(typeof WORKER_PARAMS)[M]>;

/** Parameters of methods that are passed on to a guest agent, which checks its own. */
export const guestCallParamsSchema = z.strictObject({
  ...refFields,
  params: z.custom<Readonly<Record<string, unknown>>>(isMap, { error: "must be a map" }),
});

/** Reads parameters. Throws `invalid_argument` that names what does not fit. */
export function readParams<T>(method: WorkerMethod | GuestRouteMethod, schema: z.ZodType<T>, params: unknown): T {
  const read = schema.safeParse(params);
  if (read.success) return read.data;
  const errors: FieldError[] = read.error.issues
    .slice(0, 8)
    .map(({ path, message }) => ({ path: path.map(String).join(".").slice(0, 128), message: message.slice(0, 256) }));
  const first = errors[0];
  const where = first === undefined || first.path === "" ? "" : ` ${first.path}:`;
  throw new CaissonError("invalid_argument", `The parameters of ${method} do not fit:${where} ${first?.message ?? "they are wrong"}.`, {
    detail: { errors },
  });
}

function isMap(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
