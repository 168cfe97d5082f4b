import { createPublicKey, webcrypto, type KeyObject } from "node:crypto";
import { CaissonError } from "@caisson/contract";
import { algorithmOf, keyThumbprint, readWorkerKey } from "./worker-key.ts";
import { loadX509 } from "./x509.ts";

/** Longest signing request that is looked at, in characters. */
const MAX_REQUEST = 8_192;

/** What of a signing request counts: the key, which its sender was shown to hold. Names in it are not looked at. */
export interface SigningRequest {
  readonly publicKey: KeyObject;
  readonly thumbprint: string;
}

/** A PKCS #10 request, PEM, for a worker's private key. */
export async function makeSigningRequest(privateKey: string, workerId: string | undefined): Promise<string> {
  const x509 = await loadX509();
  const key = readWorkerKey(privateKey);
  const keys = await webKeys(key);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: workerId === undefined ? "CN=caisson worker" : `CN=${workerId}`,
    keys,
    signingAlgorithm: { name: keys.privateKey.algorithm.name, hash: "SHA-256" },
  });
  return request.toString("pem");
}

/** Reads a request and checks its own signature. Throws `invalid_request` for everything else than a good one. */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  if (pem.length > MAX_REQUEST) throw bad(`is longer than ${MAX_REQUEST} characters`);
  if (!/^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END \1?CERTIFICATE REQUEST-----\s*$/.test(pem))
    throw bad("is not one PEM block CERTIFICATE REQUEST");
  const x509 = await loadX509();
  try {
    const request = new x509.Pkcs10CertificateRequest(pem.replaceAll("NEW CERTIFICATE", "CERTIFICATE"));
    const publicKey = createPublicKey({ key: Buffer.from(request.publicKey.rawData), format: "der", type: "spki" });
    algorithmOf(publicKey);
    if (!(await request.verify())) throw bad("is not signed by the key that is in it");
    return { publicKey, thumbprint: await keyThumbprint(publicKey) };
  } catch (cause) {
    if (cause instanceof CaissonError) throw cause.errors === undefined ? bad(cause.message) : cause;
    throw bad("is not a PKCS #10 request with a key of EC P-256 or Ed25519", cause);
  }
}

/** A private key and its public half as WebCrypto has them. */
export async function webKeys(key: KeyObject): Promise<webcrypto.CryptoKeyPair> {
  const algorithm = algorithmOf(key) === "EdDSA" ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: "P-256" };
  const { subtle } = webcrypto;
  const pkcs8 = key.export({ type: "pkcs8", format: "der" });
  const spki = createPublicKey(key).export({ type: "spki", format: "der" });
  return {
    privateKey: await subtle.importKey("pkcs8", pkcs8, algorithm, false, ["sign"]),
    publicKey: await subtle.importKey("spki", spki, algorithm, true, ["verify"]),
  } as webcrypto.CryptoKeyPair;
}

function bad(what: string, cause?: unknown): CaissonError {
  const message = `The signing request ${what}.`;
  return new CaissonError("invalid_request", message, { cause, errors: [{ path: "csr", message: what }] });
}
