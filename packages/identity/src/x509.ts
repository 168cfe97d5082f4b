import type * as X509 from "@peculiar/x509";

let loaded: Promise<typeof X509> | undefined;

/** The certificate library, loaded when it is first needed: few commands need it, and it is large. */
export function loadX509(): Promise<typeof X509> {
  return (loaded ??= import("reflect-metadata").then(() => import("@peculiar/x509")));
}
