import { X509Certificate } from "node:crypto";
import { checkServerIdentity } from "node:tls";
import { workerUri } from "@caisson/identity";
import type { DialLink } from "@caisson/worker-link";

/** What a control plane goes by when a worker that it dials speaks TLS. */
export interface TrustedAuthorities {
  /** Id of the installation. */
  readonly installation: string;
  /** The installation's own authority, PEM. */
  readonly authority: string;
  /** Others to trust besides the machine's, PEM. */
  readonly ca: readonly string[];
}

/** Asked at every attempt. */
export type DialTrust = () => Promise<TrustedAuthorities>;

/**
 * Whose certificate a worker may show that is dialled: one that the installation's authority issued is for that worker alone,
 * wherever it is; one of any other authority that is trusted must be for the host that is dialled, as in a browser.
 */
export function trustWorker(workerId: string, { installation, authority, ca }: TrustedAuthorities): NonNullable<DialLink["tls"]> {
  return {
    ca: [authority, ...ca],
    checkServerIdentity: (host, certificate) => {
      if (!isIssuedBy(authority, certificate.raw)) return checkServerIdentity(host, certificate);
      const names = new X509Certificate(certificate.raw).subjectAltName?.split(", ") ?? [];
      if (names.includes(`URI:${workerUri(installation, workerId)}`)) return undefined;
      return new Error(`its certificate is not that of the worker ${workerId}`);
    },
  };
}

/** Whether the authority signed this certificate. */
export function isIssuedBy(authority: string, certificate: Uint8Array): boolean {
  const [issuer, issued] = [new X509Certificate(authority), new X509Certificate(certificate)];
  return issued.checkIssued(issuer) && issued.verify(issuer.publicKey);
}
