import { CaissonError } from "@caisson/contract";
import { z } from "zod";

/** Where a page begins: after this position, newest first. */
export interface Position {
  readonly createdAt: number;
  readonly id: string;
}

const positionSchema = z.tuple([z.int(), z.string().max(64)]);

/** The position as an opaque string. */
export function encodeCursor(position: Position): string {
  return Buffer.from(JSON.stringify([position.createdAt, position.id])).toString("base64url");
}

/** Reads a cursor back; `invalid_request` when it is not one of ours. */
export function decodeCursor(cursor: string): Position {
  try {
    const [createdAt, id] = positionSchema.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
    return { createdAt, id };
  } catch (cause) {
    throw wrongCursor(cause);
  }
}

/** Reads back a cursor that is a number, as lists have it whose order is one; `invalid_request` when it is none. */
export function decodeNumber(cursor: string): number {
  if (!/^\d{1,15}$/.test(cursor)) throw wrongCursor();
  return Number(cursor);
}

function wrongCursor(cause?: unknown): CaissonError {
  return new CaissonError("invalid_request", "The cursor is not one that this server gave.", {
    cause,
    errors: [{ path: "cursor", message: "is not a cursor of this list" }],
  });
}
