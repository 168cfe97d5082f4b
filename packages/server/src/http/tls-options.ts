/** What an HTTPS listener shows, PEM, and whose client certificates it knows. */
export interface TlsOptions {
  /** Certificate and what leads from it to its authority. */
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates. One that none of them issued is let in, too: it proves nothing by itself. */
  readonly clientCa: readonly string[];
}

/** The options as Node's TLS takes them. A client is asked for a certificate where any would be known, and may have none. */
export function nodeTls({ cert, key, clientCa }: TlsOptions): {
  readonly cert: string;
  readonly key: string;
  readonly ca: string[];
  readonly requestCert: boolean;
  readonly rejectUnauthorized: false;
} {
  return { cert, key, ca: [...clientCa], requestCert: clientCa.length > 0, rejectUnauthorized: false };
}
