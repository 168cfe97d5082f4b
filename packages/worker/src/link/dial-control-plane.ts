import type { Duplex } from "node:stream";
import { CaissonError, isCaissonError, type Clock } from "@caisson/contract";
import { dialLink, type Dialled } from "@caisson/worker-link";
import type { WorkerCredentialSource } from "../identity/worker-credential-source.ts";

/** Time for one link to come about, a refresh of the credential included, in ms. */
const ATTEMPT_MS = 20_000;

/** A connection with a control plane that took the credential. */
export interface DialledControlPlane {
  readonly stream: Duplex;
  /** Id of the control plane's present run; its address where it does not say. */
  readonly id: string;
}

/** The credential is refused, and nothing but a person can help. */
export class RefusedForGood extends CaissonError {}

/**
 * Connects to a control plane: shows the credential, with a nonce where it needs one, and gets another one once when it is
 * refused. Throws `RefusedForGood` when there is none to be got.
 */
export async function dialControlPlane(
  url: string,
  credentials: WorkerCredentialSource,
  clock: Clock,
  signal: AbortSignal,
): Promise<DialledControlPlane> {
  const limit = new AbortController();
  const timer = clock.schedule(ATTEMPT_MS, () =>
    limit.abort(new CaissonError("server_unreachable", `No link to ${url} within ${ATTEMPT_MS} ms.`)),
  );
  const both = AbortSignal.any([signal, limit.signal]);
  try {
    const first = await show(url, credentials, both);
    if (first.kind === "switched") return controlPlane(url, first);
    if (!isCaissonError(first.error, "unauthorized", "forbidden")) throw first.error;
    if ((await credentials.refused(both)) === "gone")
      throw new RefusedForGood(first.error.code, first.error.message, { cause: first.error });
    const second = await show(url, credentials, both);
    if (second.kind === "switched") return controlPlane(url, second);
    throw second.error;
  } finally {
    timer.cancel();
  }
}

/** Shows all there is to show: where the first answer brings a nonce, once more with a proof over it. */
async function show(url: string, credentials: WorkerCredentialSource, signal: AbortSignal): Promise<Dialled> {
  const ask = async (nonce: string | undefined): Promise<Dialled> => {
    const certificate = credentials.clientCertificate();
    const tls = { ca: credentials.caCertificates(), ...certificate };
    return dialLink({ url, headers: await credentials.headers(nonce), tls, unreachable: "server_unreachable", signal });
  };
  const first = await ask(undefined);
  if (first.kind === "switched" || credentials.kind === "token" || first.status !== 401 || first.nonce === undefined) return first;
  return ask(first.nonce);
}

function controlPlane(url: string, { stream, shown }: Extract<Dialled, { kind: "switched" }>): DialledControlPlane {
  return { stream, id: shown.controlPlane ?? url };
}
