import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { FrameScanner, type StreamPiece } from "./frame.ts";

const ID = "0123456789abcdef";
/** Characters of one chunk. */
const PIECE = 4_096;

/** A frame as a driver, or code that plays one, writes it. */
function written(text: string): Buffer {
  const count = Math.max(1, Math.ceil(text.length / PIECE));
  const chunks = Array.from({ length: count }, (_, n) => {
    const kind = count === 1 ? "=" : n === 0 ? "[" : n === count - 1 ? "]" : "-";
    return `\x1e${ID}${kind}${text.slice(n * PIECE, (n + 1) * PIECE)}\x1e`;
  });
  return Buffer.from(chunks.join(""), "latin1");
}

const scan = (...chunks: Uint8Array[]): StreamPiece[] => {
  const scanner = new FrameScanner(ID);
  return [...chunks.flatMap((chunk) => scanner.push(chunk)), ...scanner.flush()];
};
const result = (formats: string): string => `{"type":"result","main":true,"formats":${formats},"omitted":[]}`;

describe("frames of code, which the code can write itself", () => {
  it("come out of what lies around them, however the bytes are split", () => {
    const bytes = Buffer.concat([Buffer.from("before"), written(result(`{"text/plain":"${"x".repeat(10_000)}"}`)), Buffer.from("after")]);
    for (const size of [1, 7, 4_096, bytes.length]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size));
      const pieces = scan(...chunks);
      expect(pieces.filter((piece) => piece.type === "frame")).toHaveLength(1);
      const text = Buffer.concat(pieces.map((piece) => (piece.type === "bytes" ? piece.bytes : Buffer.alloc(0)))).toString();
      expect(text).toBe("beforeafter");
    }
  });

  it.each([
    ["no JSON", "{"],
    ["an unknown type", '{"type":"root"}'],
    ["a turn that is no number", '{"type":"turn","turn":"1"}'],
    ["a status that there is not", '{"type":"end","status":"great"}'],
    ["an exit code that no program has", '{"type":"end","exit_code":300}'],
    ["an error that is too long", `{"type":"end","error":{"name":"E","message":"${"m".repeat(70_000)}","traceback":""}}`],
    ["too many formats", result(`{${Array.from({ length: 65 }, (_, n) => `"f${n}":1`).join()}}`)],
    ["formats that are a list", result("[]")],
    ["what nobody could write again", result(`{"application/json":${"[".repeat(5_000)}${"]".repeat(5_000)}}`)],
    ["what takes much memory to read", result(`{"application/json":[${"[],".repeat(2_200_000)}[]]}`)],
  ])("are dropped when they hold %s", (_what, text) => {
    expect(scan(written(text))).toEqual([]);
  });

  it("of ever so many empty chunks take no memory", () => {
    const scanner = new FrameScanner(ID);
    const chunk = (kind: string, text = ""): Buffer => Buffer.from(`\x1e${ID}${kind}${text}\x1e`, "latin1");
    const empty = Buffer.concat(Array.from({ length: 1_000 }, () => chunk("-")));
    const pieces = scanner.push(chunk("["));
    for (let n = 0; n < 1_000; n += 1) pieces.push(...scanner.push(empty));
    pieces.push(...scanner.push(chunk("]", '{"type":"begin"}')), ...scanner.push(chunk("=", '{"type":"stale"}')));
    expect(pieces).toMatchObject([{ type: "frame", frame: { type: "stale" } }]);
  });

  it("change no prototype", () => {
    const [piece] = scan(written(result(`{"__proto__":{"polluted":true},"application/json":{"__proto__":{"polluted":true}}}`)));
    expect(piece).toMatchObject({ type: "frame", frame: { type: "result" } });
    const formats = piece?.type === "frame" && piece.frame.type === "result" ? piece.frame.formats : {};
    expect(Object.getPrototypeOf(formats)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect((formats as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("of random bytes are output, all of it", () => {
    for (let round = 0; round < 200; round += 1) {
      const bytes = Buffer.from(randomBytes(2_000).map((byte) => (byte < 40 ? 0x1e : byte)));
      const pieces = scan(bytes.subarray(0, 900), bytes.subarray(900));
      expect(Buffer.concat(pieces.map((piece) => (piece.type === "bytes" ? piece.bytes : Buffer.alloc(0))))).toEqual(bytes);
    }
  });
});
