import { createPrivateKey, X509Certificate } from "node:crypto";
import { decodeJwt } from "jose";
import { z } from "zod";

/** Whether a certificate (PEM) is for a private key (PEM). */
export function certificateMatches(certificate: string, privateKey: string): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    return false; // one of the two is none
  }
}

/** How long a token lives from its issue to its end, in ms, as it says itself; undefined when it says nothing good. */
export function tokenLifeMs(token: string): number | undefined {
  try {
    const { iat, exp } = decodeJwt(token);
    return typeof iat === "number" && typeof exp === "number" && exp > iat ? Math.round((exp - iat) * 1000) : undefined;
  } catch {
    return undefined; // not a token
  }
}

/** What a token says, as its holder can read it: nothing of it was checked. */
export interface HeldToken {
  readonly issuer: string;
  readonly workerId: string;
  readonly certificateThumbprint: string;
}

const heldSchema = z.object({ iss: z.string(), sub: z.string(), cnf: z.object({ "x5t#S256": z.string() }) });

/** What a worker's token says; undefined for what is none. */
export function readHeldToken(token: string): HeldToken | undefined {
  try {
    const { iss, sub, cnf } = heldSchema.parse(decodeJwt(token));
    return { issuer: iss, workerId: sub, certificateThumbprint: cnf["x5t#S256"] };
  } catch {
    return undefined; // not a worker's token
  }
}
