import { createPrivateKey, X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import { toCaissonError, verifiedWorkerSchema, type VerifiedWorker } from "@caisson/contract";
import { certificateMatches, certificateThumbprint, readHeldToken } from "@caisson/identity";
import { askControlPlane, errorOf } from "./ask-control-plane.ts";
import type { JoinedIdentity } from "./joined-identity.ts";
import type { WorkerCredentialSource } from "./worker-credential-source.ts";

/** One thing that was looked at. */
export interface IdentityCheck {
  readonly name: string;
  readonly ok: boolean;
  /** What was found. */
  readonly detail: string;
}

/** What a registered worker's own files say, checked against one another. Times are those of the installation. */
export async function inspectFiles({ key, credentials }: JoinedIdentity, path: string): Promise<readonly IdentityCheck[]> {
  const checks: IdentityCheck[] = [];
  const check = (name: string, ok: boolean, detail: string): void => void checks.push({ name, ok, detail });

  const mode = (await stat(path)).mode & 0o777;
  const only = (mode & 0o077) === 0;
  check("file", only, `${path}, mode ${mode.toString(8).padStart(4, "0")}${only ? "" : ": others may read the private key; chmod 600 it"}`);

  const kind = createPrivateKey(key).asymmetricKeyType === "ed25519" ? "Ed25519" : "EC P-256";
  const matches = certificateMatches(credentials.certificate, key);
  check("key", matches, `${kind}, ${matches ? "matches the certificate" : "is not the key of the certificate"}`);

  const certificate = new X509Certificate(credentials.certificate);
  const authority = new X509Certificate(credentials.ca_certificate);
  const issued = certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
  const named = certificate.subjectAltName?.endsWith(`/worker/${credentials.worker_id}`) === true;
  const problem = !issued ? "was not issued by the installation's authority" : named ? undefined : "names another worker";
  check(
    "certificate",
    problem === undefined,
    `${problem ?? `of ${oneLine(authority.subject)}`}, until ${credentials.certificate_expires_at}`,
  );

  const token = readHeldToken(credentials.token);
  const bound = token?.certificateThumbprint === certificateThumbprint(certificate.raw);
  const own = token?.workerId === credentials.worker_id && token.issuer === credentials.issuer;
  const wrong = !bound ? "is not bound to the certificate" : own ? undefined : "names another worker or installation";
  check(
    "token",
    wrong === undefined,
    `${wrong ?? `of ${credentials.issuer}, bound to key and certificate`}, until ${credentials.token_expires_at}`,
  );
  check("refresh token", true, `until ${credentials.refresh_expires_at}`);
  return checks;
}

/** What a control plane says of a worker's credentials now. */
export type Acceptance =
  | { readonly kind: "accepted"; readonly worker: VerifiedWorker }
  | { readonly kind: "refused"; readonly message: string; readonly reason: string | null }
  | { readonly kind: "unreachable"; readonly message: string };

/** Asks a control plane whether it would take a link with what this worker shows, and opens none. */
export async function askAcceptance(source: WorkerCredentialSource, url: string): Promise<Acceptance> {
  const client = source.clientCertificate();
  const ask = async (nonce: string | undefined) =>
    askControlPlane({
      url,
      path: "/workers/verify",
      body: {},
      headers: await source.headers(nonce),
      ca: source.caCertificates(),
      ...(client === undefined ? {} : { client }),
    });
  try {
    let answer = await ask(undefined);
    const nonce = answer.headers["x-link-nonce"];
    if (answer.status === 401 && source.kind === "registered" && typeof nonce === "string") answer = await ask(nonce);
    if (answer.status === 200) return { kind: "accepted", worker: verifiedWorkerSchema.strip().parse(answer.body) };
    const { code, message, detail } = errorOf(answer);
    const reason = detail?.["reason"];
    if (code !== "unauthorized" && code !== "forbidden") return { kind: "unreachable", message };
    return { kind: "refused", message, reason: typeof reason === "string" ? reason : null };
  } catch (error) {
    return { kind: "unreachable", message: toCaissonError(error).message };
  }
}

function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}
