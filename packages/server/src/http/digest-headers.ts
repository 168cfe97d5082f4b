import type { IncomingHttpHeaders } from "node:http";
import { CaissonError } from "@caisson/contract";

/** Whether `Want-Repr-Digest` (RFC 9530) asks for a SHA-256; a weight of 0 means that it does not. */
export function wantsSha256(headers: IncomingHttpHeaders): boolean {
  const wanted = headers["want-repr-digest"];
  return typeof wanted === "string" && /(?:^|,)\s*sha-256\s*(?:=\s*(?:[1-9]|10)\s*)?(?:,|$)/.test(wanted);
}

/** The value of `Repr-Digest` for a SHA-256 in hex. */
export function reprDigest(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
}

/**
 * The SHA-256, in hex, that `Repr-Digest` or `Content-Digest` announces for a body: the same here, since bodies have no
 * content coding. Other algorithms beside it are not checked; a header without a SHA-256 is refused, rather than ignored.
 */
export function announcedSha256(headers: IncomingHttpHeaders): string | undefined {
  let found: string | undefined;
  for (const name of ["repr-digest", "content-digest"]) {
    const text = headers[name];
    if (text === undefined) continue;
    const base64 = /(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/]{43}=):\s*(?:,|$)/.exec(String(text))?.[1];
    const sha256 = base64 === undefined ? undefined : Buffer.from(base64, "base64").toString("hex");
    if (sha256 === undefined || (found !== undefined && found !== sha256)) {
      const message = sha256 === undefined ? "must be sha-256=:BASE64: (RFC 9530)" : "differs from the other digest header";
      throw new CaissonError("invalid_request", `The header ${name} ${message}.`, { errors: [{ path: name, message }] });
    }
    found = sha256;
  }
  return found;
}
