import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { CaissonError, LINK_HEADERS, toCaissonError, type Clock } from "@caisson/contract";
import type { Logger, WorkerIdentities, WorkerIdentity, WorkerSessions } from "@caisson/control";
import { Link, type IncomingCall } from "@caisson/link";
import {
  isLinkUpgrade,
  readLinkRequest,
  refuseLink,
  RemoteHost,
  serveControl,
  switchToLink,
  workerLinkOptions,
} from "@caisson/worker-link";

/** Time for a credential to be looked at, in ms. */
const VERIFY_MS = 15_000;
/** Most credentials that are looked at at once; of one address, a quarter of them. What is beyond is refused without a look. */
const MOST_VERIFIED = 256;
/** Most links of one worker: the newest that was heard counts, and the oldest goes for a new one. */
const MOST_OF_ONE = 8;

/** What links with workers need. */
export interface WorkerLinksOptions {
  /** Id of this run of the control plane: a worker keeps one link to each. */
  readonly controlPlaneId: string;
  readonly identities: Pick<WorkerIdentities, "verify" | "challenge">;
  readonly sessions: WorkerSessions;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** All links between this control plane and workers, whoever dialled. */
export class WorkerLinks {
  readonly #options: WorkerLinksOptions;
  readonly #links = new Map<Link, string>();
  /** Credentials that are being looked at, by address. */
  readonly #verifying = new Map<string, number>();
  #handshakes = 0;
  #closed: CaissonError | undefined;

  constructor(options: WorkerLinksOptions) {
    this.#options = options;
  }

  /** Whether a request is for this part of the server. */
  takes(message: IncomingMessage): boolean {
    return isLinkUpgrade(message);
  }

  /** Whether there is a link with a worker now. */
  has(workerId: string): boolean {
    return [...this.#links.values()].includes(workerId);
  }

  /** Takes an upgrade request over; never throws. What is refused is told as HTTP, a 401 with a nonce for the next attempt. */
  async upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { identities, controlPlaneId, clock, logger } = this.#options;
    const remote = (message.socket as Socket).remoteAddress ?? null;
    // A peer that breaks off is no error of ours; once there is a link, that hears of it too.
    socket.on("error", () => socket.destroy());
    const timer = clock.schedule(VERIFY_MS, () => socket.destroy());
    const headers: Record<string, string> = { [LINK_HEADERS.controlPlane]: controlPlaneId };
    let identity: WorkerIdentity;
    try {
      if (this.#closed !== undefined) throw this.#closed;
      const { token, workerId, proof, certificate } = readLinkRequest(message);
      if (token === undefined) throw new CaissonError("unauthorized", "A link needs a credential: Authorization: Bearer TOKEN.");
      using _place = this.#placeFor(remote ?? "");
      identity = await identities.verify({
        token,
        ...(workerId === undefined ? {} : { workerId }),
        ...(proof === undefined ? {} : { proof }),
        ...(certificate === undefined ? {} : { certificate }),
      });
    } catch (thrown) {
      const error = toCaissonError(thrown);
      // Without a proof is how a registered worker asks for the nonce to make one.
      const asked = error.detail?.["reason"] === "proof_missing";
      logger[asked ? "debug" : "warn"]({ remote, outcome: error.code, reason: error.message }, "a link was refused");
      if (error.code === "unauthorized") headers[LINK_HEADERS.nonce] = await identities.challenge().catch(() => "");
      return refuseLink(
        socket,
        error.code === "internal" ? new CaissonError("internal", "The credential could not be checked.") : error,
        headers,
      );
    } finally {
      timer.cancel();
    }
    if (socket.destroyed) return;
    await this.adopt(switchToLink(socket, head, headers), "listener", identity, remote);
  }

  /** A place among those whose credential is looked at, which anybody may ask for; `resource_limit` when there is none. */
  #placeFor(address: string): Disposable {
    const of = this.#verifying.get(address) ?? 0;
    if (this.#handshakes >= MOST_VERIFIED || of >= MOST_VERIFIED / 4)
      throw new CaissonError("resource_limit", "Too many links are asked for at once.", { retryAfter: 1 });
    this.#handshakes += 1;
    this.#verifying.set(address, of + 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#verifying.get(address) ?? 1) - 1;
        this.#handshakes -= 1;
        if (left === 0) this.#verifying.delete(address);
        else this.#verifying.set(address, left);
      },
    };
  }

  /** Opens a link on a connection with a worker whose credential was right. Resolves when it is up or has failed. */
  async adopt(stream: Duplex, role: "dialler" | "listener", identity: WorkerIdentity, remote: string | null): Promise<void> {
    const { sessions, clock, logger } = this.#options;
    const { workerId } = identity;
    const early: IncomingCall[] = [];
    let serve: (call: IncomingCall) => void = (call) => void early.push(call);
    const link = new Link(
      stream,
      workerLinkOptions(stream, "control", role, (call) => serve(call), clock),
    );
    const others = [...this.#links].filter(([, of]) => of === workerId);
    if (others.length >= MOST_OF_ONE) others[0]?.[0].close(new CaissonError("conflict", "Newer links of this worker came."));
    this.#links.set(link, workerId);
    void link.closed.then((reason) => {
      this.#links.delete(link);
      logger.info({ worker_id: workerId, remote, reason: reason.message }, "a link with a worker has ended");
    });
    try {
      await link.ready;
      if (this.#closed !== undefined) throw this.#closed;
      const session = sessions.open(identity, new RemoteHost(workerId, link));
      void link.closed.then(() => session.close());
      const end = (): void => link.close(toCaissonError(session.ended.reason));
      if (session.ended.aborted) return end();
      session.ended.addEventListener("abort", end, { once: true });
      logger.info(
        { worker_id: workerId, remote, credential: identity.credential, dialled: role === "dialler" },
        "a link with a worker is up",
      );
      serve = serveControl(session);
      for (const call of early.splice(0)) serve(call);
    } catch (error) {
      logger.warn(
        { worker_id: workerId, remote, outcome: toCaissonError(error).code, err: error },
        "a link with a worker did not come about",
      );
      link.close();
    }
  }

  /** Ends every link and refuses those that still come; workers connect again, elsewhere or when this control plane is back. Idempotent. */
  close(): void {
    this.#closed ??= new CaissonError("shutting_down", "The control plane is shutting down.", { retryAfter: 2 });
    for (const link of this.#links.keys()) link.close(this.#closed);
  }
}
