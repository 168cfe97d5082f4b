import { ERROR_TABLE, type ErrorCode, type Problem } from "@caisson/contract";
import { z } from "zod";

/** The wire form of an error, for the API reference. */
export const problemSchema: z.ZodType<Problem> = z
  .strictObject({
    type: z.string().meta({ description: "`urn:caisson:error:` and the code" }),
    title: z.string().meta({ description: "What the code means" }),
    status: z.int().min(400).max(599).meta({ description: "The HTTP status" }),
    code: z.enum(Object.keys(ERROR_TABLE) as [ErrorCode, ...ErrorCode[]]).meta({ id: "ErrorCode", description: "What programs decide by" }),
    message: z.string().meta({ description: "What happened, for people" }),
    remedy: z.string().meta({ description: "What to do about it" }),
    retryable: z.boolean().meta({ description: "Whether the same request may succeed later without a change" }),
    errors: z
      .array(z.strictObject({ path: z.string(), message: z.string() }))
      .exactOptional()
      .meta({ description: "The fields that were refused, by path" }),
    detail: z.record(z.string(), z.unknown()).exactOptional().meta({ description: "Facts for programs" }),
    request_id: z.string().exactOptional(),
  })
  .meta({
    id: "Problem",
    description: "An error (RFC 9457). Every answer with a status of 400 or more is one.",
    examples: [
      {
        type: "urn:caisson:error:sandbox_not_found",
        title: ERROR_TABLE.sandbox_not_found.title,
        status: 404,
        code: "sandbox_not_found",
        message: "There is no sandbox sb1hfqv8k3m00a1b2c3d4e5.",
        remedy: ERROR_TABLE.sandbox_not_found.remedy,
        retryable: false,
        request_id: "6f1f0c9e2b7d4a51c0ffee00",
      },
    ],
  });
