import { CaissonError, workerCredentialsSchema, type Clock } from "@caisson/contract";
import { hashSecret, makeSigningRequest, makeWorkerKey } from "@caisson/identity";
import { askControlPlane, errorOf, type ControlPlaneAnswer } from "./ask-control-plane.ts";
import { IdentityFiles, type JoinedIdentity } from "./joined-identity.ts";

export interface JoinOptions {
  /** Folder of this worker's identity; it exists. */
  readonly dir: string;
  /** Address of a control plane. */
  readonly url: string;
  /** Token of an invitation. */
  readonly token: string;
  /** Id to have, where the invitation names none. */
  readonly workerId?: string;
  /** Certificates to trust besides the machine's, PEM. */
  readonly caCertificates: readonly string[];
  readonly clock: Pick<Clock, "now">;
  readonly signal?: AbortSignal;
}

/**
 * Registers this machine: makes a key pair, has it certified and keeps what came. The key is on disk before the token is used:
 * when the answer is lost, or this process dies, the same call again ends well. An identity that was there before is replaced
 * only by a new one.
 */
export async function joinInstallation(options: JoinOptions): Promise<JoinedIdentity> {
  const { dir, url, token, workerId, caCertificates, clock, signal } = options;
  const files = new IdentityFiles(dir);
  const tokenHash = hashSecret(token);
  const begun = await files.begun().catch(() => undefined); // a damaged one is as good as none: it is replaced
  const key = begun?.token_hash === tokenHash ? begun.key : makeWorkerKey();
  if (key !== begun?.key) await files.begin({ version: 1, control_plane_url: url, token_hash: tokenHash, key });
  const answer = await askControlPlane({
    url,
    path: "/workers/register",
    body: { token, ...(workerId === undefined ? {} : { worker_id: workerId }), csr: await makeSigningRequest(key, workerId) },
    ca: caCertificates,
    ...(signal === undefined ? {} : { signal }),
  });
  const identity = { version: 1, control_plane_url: url, key, credentials: credentialsOf(answer), obtained_at: clock.now() } as const;
  await files.keep(identity);
  return identity;
}

/** The credentials of an answer; throws the error that it tells. What later versions add is passed over. */
export function credentialsOf(answer: ControlPlaneAnswer): JoinedIdentity["credentials"] {
  if (answer.status !== 200) throw errorOf(answer);
  const found = workerCredentialsSchema.strip().safeParse(answer.body);
  if (found.success) return found.data;
  throw new CaissonError("protocol_error", "The control plane's answer lacks what a worker's credentials are made of.", {
    cause: found.error,
  });
}
