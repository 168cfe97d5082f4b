import { createPrivateKey, generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { z } from "zod";
import { webKeys } from "./signing-request.ts";
import { certificateThumbprint } from "./worker-key.ts";
import { loadX509 } from "./x509.ts";

const DAY_MS = 86_400_000;
const AUTHORITY_MS = 10 * 365 * DAY_MS;
/** How far certificates reach into the past: the machine that checks one may have a clock that is behind. */
const BACKDATED_MS = DAY_MS;

/** The installation's own authority, as it is kept. */
export interface Authority {
  /** PKCS #8 PEM. */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

export const authoritySchema: z.ZodType<Authority> = z.object({ key: z.string().max(4096), certificate: z.string().max(8192) });

/** A certificate that was issued. */
export interface IssuedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** `x5t#S256`. */
  readonly thumbprint: string;
  /** Ms since the Unix epoch. */
  readonly expiresAt: number;
}

/** Name of a worker in its certificate: the one URI of its subject alternative name. */
export function workerUri(installation: string, workerId: string): string {
  return `spiffe://${installation}.caisson/worker/${workerId}`;
}

/** Makes an authority for 10 years: EC P-256, for workers' certificates alone. */
export async function makeAuthority(installation: string, now: number): Promise<Authority> {
  const x509 = await loadX509();
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  const keys = await webKeys(privateKey);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=Caisson ${installation}`,
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(now + AUTHORITY_MS),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false),
    ],
  });
  return { key: privateKey.export({ type: "pkcs8", format: "pem" }).toString(), certificate: certificate.toString("pem") };
}

/** Whose certificate it is to be. */
export interface CertificateRequest {
  readonly publicKey: KeyObject;
  readonly installation: string;
  readonly workerId: string;
  readonly now: number;
  readonly ttlMs: number;
  /** Host names and IP addresses that it is good for as a server. */
  readonly addresses?: readonly string[];
}

/** Certifies a worker's public key under its id. */
export async function issueCertificate(authority: Authority, of: CertificateRequest): Promise<IssuedCertificate> {
  const x509 = await loadX509();
  const { publicKey, installation, workerId, now, ttlMs, addresses = [] } = of;
  const issuer = new x509.X509Certificate(authority.certificate);
  const { privateKey } = await webKeys(createPrivateKey(authority.key));
  // Certificates count in seconds; one that ends earlier than it says would end links early.
  const expiresAt = Math.floor((now + ttlMs) / 1000) * 1000;
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: `CN=${workerId}`,
    issuer: issuer.subject,
    notBefore: new Date(now - BACKDATED_MS),
    notAfter: new Date(expiresAt),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    publicKey: new x509.PublicKey(publicKey.export({ type: "spki", format: "der" })),
    signingKey: privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth, x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: "url", value: workerUri(installation, workerId) },
        ...addresses.map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value })),
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer, false),
    ],
  });
  return { certificate: certificate.toString("pem"), thumbprint: certificateThumbprint(new Uint8Array(certificate.rawData)), expiresAt };
}

/** A positive number of 16 random bytes, hex. */
function serial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}
