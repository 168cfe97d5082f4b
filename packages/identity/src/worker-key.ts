import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate, type KeyObject } from "node:crypto";
import { CaissonError } from "@caisson/contract";
import { calculateJwkThumbprint, type JWK } from "jose";

/** Signatures that workers' keys make. */
export const WORKER_ALGORITHMS = ["ES256", "EdDSA"] as const;
export type WorkerAlgorithm = (typeof WORKER_ALGORITHMS)[number];

/** A new private key of a worker: EC P-256, PKCS #8 PEM. It never leaves its machine. */
export function makeWorkerKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return privateKey.export({ type: "pkcs8", format: "pem" }).toString();
}

/** A private key read back. Throws `invalid_request` for what is none, or of a kind that workers do not have. */
export function readWorkerKey(pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    algorithmOf(key);
    return key;
  } catch (cause) {
    throw new CaissonError("invalid_request", "The worker's private key cannot be read.", { cause });
  }
}

/** How a key signs. Throws `invalid_request` for kinds that workers do not have. */
export function algorithmOf(key: KeyObject): WorkerAlgorithm {
  if (key.asymmetricKeyType === "ed25519") return "EdDSA";
  if (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1") return "ES256";
  throw new CaissonError("invalid_request", "A worker's key must be EC P-256 or Ed25519.");
}

/** The public half as a JWK, with what identifies it and nothing else. */
export function publicJwkOf(key: KeyObject): JWK {
  const { kty, crv, x, y } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  return { kty, crv, x, ...(y === undefined ? {} : { y }) } as JWK;
}

/** What names a key: RFC 7638, SHA-256, base64url. */
export function keyThumbprint(key: KeyObject): Promise<string> {
  return calculateJwkThumbprint(publicJwkOf(key));
}

/** What names a certificate: SHA-256 of its DER, base64url (`x5t#S256`). */
export function certificateThumbprint(der: Uint8Array): string {
  return createHash("sha256").update(der).digest("base64url");
}

/** Thumbprint of the key in a certificate (DER); undefined for what is none. */
export async function certificateKeyThumbprint(der: Uint8Array): Promise<string | undefined> {
  try {
    return await keyThumbprint(new X509Certificate(der).publicKey);
  } catch {
    return undefined; // not a certificate, or one with a key that no worker has
  }
}
