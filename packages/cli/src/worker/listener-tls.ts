import { CaissonError, type Config } from "@caisson/contract";
import type { WorkerCredentialSource } from "@caisson/worker";
import { followTls, openTlsFiles, type TlsFiles } from "../serve/tls-files.ts";

/** How often the certificate that the worker joined with is looked at, in ms: control planes take no other one when it was replaced. */
const OWN_LOOK_MS = 5_000;

/**
 * What a worker's listener shows: the files of `worker.tls`, or the certificate that it joined with, as that is renewed;
 * undefined where it speaks plain HTTP. Throws `invalid_request` for what cannot serve.
 */
export function openListenerTls(
  { tls, listen_addr: listenAddr }: Pick<Config["worker"], "tls" | "listen_addr">,
  source: Pick<WorkerCredentialSource, "clientCertificate">,
): TlsFiles | undefined {
  const named = tls.cert_file !== undefined || tls.key_file !== undefined;
  if ((named || tls.own_certificate) && listenAddr === undefined)
    throw new CaissonError("invalid_request", "worker.tls is for worker.listen_addr, which is not set.", {
      detail: { remedy: "Set worker.listen_addr, such as 0.0.0.0:7430, or leave worker.tls out." },
    });
  if (!tls.own_certificate) return openTlsFiles(tls, [], "worker.tls");
  if (named)
    throw new CaissonError("invalid_request", "worker.tls.own_certificate is instead of worker.tls.cert_file; both are set.", {
      detail: { remedy: "Leave one of them out." },
    });
  const find = (): { readonly cert: string; readonly key: string } => {
    const own = source.clientCertificate();
    if (own !== undefined) return own;
    throw new CaissonError("invalid_request", "worker.tls.own_certificate: this worker has none, for it did not join.", {
      detail: { remedy: "Join with `caisson worker join URL --token-file -`, or name a certificate: worker.tls.cert_file and key_file." },
    });
  };
  if (source.clientCertificate() === undefined) find();
  return followTls(find, [], { certificate: "of this worker", key: "that it joined with" }, OWN_LOOK_MS);
}
