import { LOCAL_WORKER_ID, SCOPES, workerIdSchema } from "@caisson/contract";
import { isLinkAnswer, refused, sameSecret } from "@caisson/identity";
import type { WorkerIdentityRepository, WorkerStanding } from "@caisson/store";
import type { WorkerIdentity } from "../workers/worker-identities.ts";

/** Tokens that the configuration names. */
export interface ConfiguredTokens {
  /** The token that any worker may show; undefined when there is none. Asked for every connection. */
  readonly shared: () => Promise<string | undefined>;
  /** A token for each worker by its id. */
  readonly own: Readonly<Record<string, string>>;
}

/** Workers that show a token of the configuration: one of their own, or the shared one. */
export class KnownTokens {
  readonly #tokens: ConfiguredTokens;
  readonly #standings: Pick<WorkerIdentityRepository, "standing">;

  constructor(tokens: ConfiguredTokens, standings: Pick<WorkerIdentityRepository, "standing">) {
    this.#tokens = tokens;
    this.#standings = standings;
  }

  /** Whether a worker has a token of its own in the configuration. */
  hasOwn(workerId: string): boolean {
    return Object.hasOwn(this.#tokens.own, workerId);
  }

  /** The worker that says to have this id and shows this token. */
  async verify(workerId: string | undefined, token: string): Promise<WorkerIdentity> {
    const found = await this.#find((candidate) => sameSecret(token, candidate), workerId);
    return this.#identify(found.workerId, found.credential);
  }

  /** The worker with this id that proved to know its token. */
  async verifyAnswer(workerId: string, nonce: string, answer: string): Promise<WorkerIdentity> {
    const found = await this.#find((candidate) => isLinkAnswer(answer, candidate, workerId, nonce), workerId);
    return this.#identify(found.workerId, found.credential);
  }

  /** Whether a worker that came with such a token may stay. One that cannot be read now was not taken away. */
  async stillGood({ workerId, credential }: WorkerIdentity): Promise<boolean> {
    const standing = await this.#standings.standing(workerId);
    if (standing !== undefined && objection(credential, standing) !== undefined) return false;
    if (credential === "static") return this.hasOwn(workerId);
    if (this.hasOwn(workerId)) return false;
    return this.#tokens.shared().then(
      (token) => token !== undefined,
      () => true,
    );
  }

  async #find(
    fits: (token: string) => boolean,
    workerId: string | undefined,
  ): Promise<{ readonly workerId: string; readonly credential: "static" | "shared" }> {
    const shared = await this.#tokens.shared();
    // Every token is compared, so that the time tells nothing of which one fits.
    const owners = Object.entries(this.#tokens.own)
      .filter(([, own]) => fits(own))
      .map(([id]) => id);
    const owner = owners.includes(workerId ?? "") ? workerId : owners[0];
    const isShared = shared !== undefined && fits(shared);
    if (workerId !== undefined && !workerIdSchema.safeParse(workerId).success)
      throw refused("malformed", "X-Worker-ID is not the id of a worker.");
    if (owner !== undefined && (workerId ?? owner) === owner) return { workerId: owner, credential: "static" };
    if (owner !== undefined && !isShared)
      throw refused("wrong_worker", "The token belongs to another worker than X-Worker-ID names.", { workerId: owner });
    if (!isShared) throw refused("unknown_token", "No worker has this token.");
    if (workerId === undefined) throw refused("missing", "With the shared worker token, X-Worker-ID must name the worker.");
    if (this.hasOwn(workerId))
      throw refused("own_token_needed", `The worker ${workerId} has a token of its own; the shared one is refused for it.`);
    return { workerId, credential: "shared" };
  }

  async #identify(workerId: string, credential: "static" | "shared"): Promise<WorkerIdentity> {
    if (workerId === LOCAL_WORKER_ID) throw refused("reserved_id", "The id local is the worker inside the server; choose another.");
    const standing = await this.#standings.standing(workerId);
    const wrong = standing === undefined ? undefined : objection(credential, standing);
    if (wrong === "removed")
      throw refused("removed", `The worker ${workerId} was removed; an admin must add it again: caisson workers add ${workerId}.`);
    if (wrong === "revoked")
      throw refused("revoked", `The worker ${workerId} was revoked; an admin must add it again: caisson workers add ${workerId}.`);
    if (wrong === "reserved_id") throw refused("reserved_id", `The worker ${workerId} is the one inside a server; choose another id.`);
    if (wrong === "registered_elsewhere")
      throw refused("registered_elsewhere", `The worker ${workerId} is registered; the shared token is refused for it.`);
    const tenantId = standing?.tenantId ?? null;
    return { workerId, credential, tenantId, scopes: new Set(SCOPES), keyThumbprint: null, expiresAt: null, issuedAt: null, keyId: null };
  }
}

/** Why a worker may not come with a token of the configuration. */
function objection(
  credential: WorkerIdentity["credential"],
  standing: WorkerStanding,
): "removed" | "reserved_id" | "revoked" | "registered_elsewhere" | undefined {
  if (standing.state === "removed") return "removed";
  if (standing.credential === "local") return "reserved_id";
  if (!standing.readmitted) return "revoked";
  // Else whoever has the shared token could take over a worker that holds a key.
  if (credential === "shared" && standing.credential === "certificate") return "registered_elsewhere";
  return undefined;
}
