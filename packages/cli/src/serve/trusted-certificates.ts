import { readFileSync } from "node:fs";
import { CaissonError } from "@caisson/contract";

/** Certificates to trust besides the machine's, PEM, from the file that a key of the configuration names. */
export function trustedCertificates(key: string, file: string | undefined): readonly string[] {
  if (file === undefined) return [];
  try {
    return [readFileSync(file, "utf8")];
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CaissonError("invalid_request", `${key}: ${file} cannot be read: ${code ?? "unknown"}.`, {
      cause,
      detail: { remedy: "Name a PEM file that this user may read." },
    });
  }
}
