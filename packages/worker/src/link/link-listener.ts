import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { CaissonError, LINK_HEADERS, toCaissonError, type Scope } from "@caisson/contract";
import type { ProviderContext } from "@caisson/providers";
import { isLinkUpgrade, readLinkRequest, refuseLink, switchToLink } from "@caisson/worker-link";
import type { WorkerCredentialSource } from "../identity/worker-credential-source.ts";

/** A connection of a control plane that was let in. */
export interface AcceptedLink {
  readonly stream: Duplex;
  /** Id of the control plane's present run. */
  readonly id: string;
  /** What it may do. */
  readonly scopes: ReadonlySet<Scope>;
  /** `Renewals.count` of what it was shown, or a lower one. */
  readonly shown: number;
}

export interface LinkListenerOptions {
  readonly credentials: WorkerCredentialSource;
  /** Serves a control plane that was let in. */
  readonly accept: (link: AcceptedLink) => Promise<void>;
  readonly log: ProviderContext["log"];
}

/** Lets control planes in that dial this worker, for an HTTP server on it. */
export class LinkListener {
  readonly #options: LinkListenerOptions;

  constructor(options: LinkListenerOptions) {
    this.#options = options;
  }

  /** Whether an upgrade request is one for a link. */
  takes(message: IncomingMessage): boolean {
    return isLinkUpgrade(message);
  }

  /** Takes an upgrade request over; never throws. Both sides show who they are before a frame flows. */
  async upgrade(message: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const { credentials, accept, log } = this.#options;
    socket.on("error", () => socket.destroy());
    let scopes: ReadonlySet<Scope>;
    let id: string;
    let answer: Readonly<Record<string, string>>;
    const shown = credentials.renewals?.count ?? 0;
    try {
      const { token, nonce, controlPlane } = readLinkRequest(message);
      if (token === undefined) throw new CaissonError("unauthorized", "A link needs a credential: Authorization: Bearer TOKEN.");
      if (nonce === undefined || controlPlane === undefined)
        throw new CaissonError("unauthorized", `A link needs the headers ${LINK_HEADERS.nonce} and ${LINK_HEADERS.controlPlane}.`);
      ({ scopes } = await credentials.admit(token));
      answer = await credentials.answer(nonce);
      id = controlPlane;
    } catch (thrown) {
      const error = toCaissonError(thrown);
      const known = error.code === "unauthorized" || error.code === "forbidden";
      // The first request of every control plane asks for a nonce.
      log(known ? "debug" : "error", "a link was refused", { reason: error.message });
      const nonce = error.code === "unauthorized" ? { [LINK_HEADERS.nonce]: credentials.challenge() } : {};
      return refuseLink(socket, known ? error : new CaissonError("internal", "The credential could not be checked."), nonce);
    }
    if (socket.destroyed) return;
    await accept({ stream: switchToLink(socket, head, answer), id, scopes, shown });
  }
}
