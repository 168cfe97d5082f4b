import type { CodeError } from "@caisson/contract";
import { z } from "zod";
import { brokenBound } from "../http/json-bounds.ts";

/** What a driver says of its context or of one run of code. */
export type Frame =
  | { readonly type: "turn"; readonly turn: number }
  | { readonly type: "begin" }
  /** The turn that a request named has passed. */
  | { readonly type: "stale" }
  | {
      readonly type: "result";
      readonly main: boolean;
      readonly formats: Record<string, unknown>;
      readonly omitted: string[];
    }
  /** The code was left half-way; only shells say so. */
  | { readonly type: "left" }
  | {
      readonly type: "end";
      readonly status?: "ok" | "error" | "interrupted" | undefined;
      readonly error?: CodeError | null | undefined;
      readonly exit_code?: number | undefined;
    };

/** The code can write frames, too: whatever fits is taken, unknown fields are left out. */
const frameSchema: z.ZodType<Frame> = z.discriminatedUnion("type", [
  z.object({ type: z.literal("turn"), turn: z.int().min(0) }),
  z.object({ type: z.literal("begin") }),
  z.object({ type: z.literal("stale") }),
  z.object({
    type: z.literal("result"),
    main: z.boolean(),
    formats: z.record(z.string().max(256), z.unknown()).refine((formats) => Object.keys(formats).length <= MAX_FORMATS),
    omitted: z.array(z.string().max(256)).max(64),
  }),
  z.object({ type: z.literal("left") }),
  z.object({
    type: z.literal("end"),
    status: z.enum(["ok", "error", "interrupted"]).optional(),
    error: z.object({ name: z.string().max(1024), message: z.string().max(65_536), traceback: z.string().max(262_144) }).nullish(),
    exit_code: z.int().min(0).max(255).optional(),
  }),
]);

/** A piece of an output stream of a context. */
export type StreamPiece =
  | { readonly type: "bytes"; readonly bytes: Uint8Array }
  /** `size`: characters of its text. */
  | { readonly type: "frame"; readonly frame: Frame; readonly size: number };

const MARK = 0x1e;
/** Longest chunk that drivers write, and some. */
const MAX_CHUNK = 8_192;
/** Longest frame, in characters and the cost of its chunks: a dozen formats of 4 MiB. */
const MAX_FRAME = 52_428_800;
/** Structure of a frame: what parsing it, and writing it again, may cost the server. */
const BOUNDS = { depth: 1_000, parts: 4_194_304 };
/** What a chunk costs beside its characters: code may send ever so many that are empty. */
const CHUNK_COST = 64;
/** Most formats of one result. */
const MAX_FORMATS = 64;

/**
 * Takes the frames of one run of code out of a stream in which they lie between whatever the code writes. A frame is one
 * chunk, `MARK id = text MARK`, or several, whose kinds are `[`, `-` and `]`. What is no frame is output.
 */
export class FrameScanner {
  readonly #opening: Buffer;
  #held: Buffer = Buffer.alloc(0);
  #parts: string[] = [];
  #size = 0;

  /** `id`: that of the run, which its frames bear. */
  constructor(id: string) {
    this.#opening = Buffer.from(`\x1e${id}`, "latin1");
  }

  /** What a chunk of the stream completes. */
  push(bytes: Uint8Array): StreamPiece[] {
    const all = this.#held.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#held, bytes]);
    const pieces: StreamPiece[] = [];
    let from = 0;
    let search = 0;
    for (;;) {
      const begin = all.indexOf(this.#opening, search);
      if (begin < 0) {
        const keep = partialOpening(all, Math.max(from, search), this.#opening);
        addBytes(pieces, all.subarray(from, keep));
        this.#held = Buffer.from(all.subarray(keep));
        return pieces;
      }
      const content = begin + this.#opening.length;
      const end = all.subarray(0, content + MAX_CHUNK).indexOf(MARK, content);
      if (end >= 0) {
        addBytes(pieces, all.subarray(from, begin));
        this.#chunk(all.toString("latin1", content, end), pieces);
        from = search = end + 1;
      } else if (all.length - content < MAX_CHUNK) {
        addBytes(pieces, all.subarray(from, begin));
        this.#held = Buffer.from(all.subarray(begin));
        return pieces;
      } else search = begin + 1; // it only looked like one
    }
  }

  /** What is held back, at the end. */
  flush(): StreamPiece[] {
    const pieces: StreamPiece[] = [];
    addBytes(pieces, this.#held);
    this.#held = Buffer.alloc(0);
    return pieces;
  }

  #chunk(content: string, pieces: StreamPiece[]): void {
    const kind = content[0];
    if (kind === "=" || kind === "[") {
      this.#parts = [];
      this.#size = 0;
    }
    this.#size += content.length + CHUNK_COST;
    if (this.#size <= MAX_FRAME) this.#parts.push(content.slice(1));
    else this.#parts = [];
    if (kind !== "=" && kind !== "]") return;
    const text = this.#parts.join("");
    this.#parts = [];
    if (this.#size > MAX_FRAME) return;
    const frame = parseFrame(text);
    if (frame !== undefined) pieces.push({ type: "frame", frame, size: text.length });
  }
}

function parseFrame(text: string): Frame | undefined {
  if (brokenBound(Buffer.from(text, "latin1"), BOUNDS) !== undefined) return undefined;
  try {
    return frameSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // written by the code, not by its driver
  }
}

/** Where at the end an opening begins that the next bytes may complete; the length when none does. */
function partialOpening(all: Buffer, from: number, opening: Buffer): number {
  for (let at = Math.max(from, all.length - opening.length + 1); at < all.length; at += 1) {
    if (all[at] === MARK && opening.subarray(0, all.length - at).equals(all.subarray(at))) return at;
  }
  return all.length;
}

function addBytes(pieces: StreamPiece[], bytes: Uint8Array): void {
  if (bytes.length > 0) pieces.push({ type: "bytes", bytes });
}
