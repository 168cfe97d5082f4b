import { CaissonError } from "@caisson/contract";

const MAX_PATH = 4096;
const MAX_NAME = 255;
/** Folders within folders. */
const MAX_DEPTH = 256;

/** An entry of an archive that is not let onto this machine. */
export function refused(name: string, why: string): CaissonError {
  return new CaissonError(
    "protocol_error",
    `The sandbox sent ${JSON.stringify(name.slice(0, 200))}, which ${why}. Nothing more was copied.`,
  );
}

/**
 * The parts of an entry's name. What comes out of a sandbox is hostile: absolute names, `..`, NUL and what is too long are
 * refused, not mended.
 */
export function safeParts(name: string): readonly string[] {
  if (name.startsWith("/")) throw refused(name, "is absolute");
  if (name.includes("\0") || name.includes("\uFFFD")) throw refused(name, "is not UTF-8 without NUL");
  if (Buffer.byteLength(name) > MAX_PATH) throw refused(name, "is too long");
  const parts = name.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length > MAX_DEPTH) throw refused(name, "is nested too deeply");
  for (const part of parts) {
    if (part === "..") throw refused(name, "has .. in it");
    if (Buffer.byteLength(part) > MAX_NAME) throw refused(name, "has a name that is too long");
  }
  return parts;
}

/**
 * Whether a symlink, in a folder so many levels below the top, stays below the top whatever else is there: it is relative,
 * climbs no higher than the top, and does not climb after it has gone down, where another link might have led elsewhere.
 */
export function staysInside(target: string, depth: number): boolean {
  if (target === "" || target.startsWith("/") || target.includes("\0") || Buffer.byteLength(target) >= MAX_PATH) return false;
  const parts = target.split("/").filter((part) => part !== "" && part !== ".");
  const climbs = parts.findIndex((part) => part !== "..");
  const up = climbs < 0 ? parts.length : climbs;
  return up <= depth && !parts.slice(up).includes("..");
}
