import { CaissonError, LINK_HEADERS, toCaissonError, type Clock, type Random } from "@caisson/contract";
import type { Logger, WorkerIdentities } from "@caisson/control";
import { dialLink, type Dialled } from "@caisson/worker-link";
import { isIssuedBy, trustWorker, type DialTrust } from "./worker-trust.ts";
import type { WorkerLinks } from "./worker-links.ts";

/** Time between looks at who could be dialled, in ms. */
const LOOK_MS = 2_000;
/** Time for one attempt, both requests together, in ms. */
const ATTEMPT_MS = 10_000;
/** Attempts under way at once: an address may be anything, and none may hold up the others. */
const AT_ONCE = 16;
/** Rest after a failed attempt, doubled with each, in ms. */
const REST_MS = { first: 1_000, longest: 60_000 } as const;

/** A worker that can be dialled. */
export interface DialTarget {
  readonly workerId: string;
  /** `host:port`, with `https://` before it where the worker speaks TLS. */
  readonly address: string;
}

/** What a dialler needs. */
export interface WorkerDiallerOptions {
  readonly controlPlaneId: string;
  readonly identities: Pick<WorkerIdentities, "introduce" | "verifyAnswer">;
  readonly links: Pick<WorkerLinks, "has" | "adopt">;
  /** Whose certificates count where the worker speaks TLS. */
  readonly trust: DialTrust;
  /** Workers that were heard of, are not removed and have an address. */
  readonly targets: () => Promise<readonly DialTarget[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

interface Failed {
  readonly address: string;
  readonly times: number;
  readonly until: number;
}

/** Dials workers that say where they can be dialled and have no link here. Closed by its signal. */
export class WorkerDialler {
  readonly #options: WorkerDiallerOptions;
  readonly #dialling = new Set<string>();
  readonly #failed = new Map<string, Failed>();

  constructor(options: WorkerDiallerOptions) {
    this.#options = options;
  }

  /** Looks and dials until the signal is aborted; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#look(signal);
      } catch (error) {
        logger.warn({ outcome: toCaissonError(error).code, err: error }, "workers to dial could not be looked up");
      }
      await clock.sleep(LOOK_MS, signal).catch(() => undefined);
    }
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock, links, targets } = this.#options;
    const wanted = await targets();
    const ids = new Set(wanted.map((target) => target.workerId));
    for (const id of this.#failed.keys()) if (!ids.has(id)) this.#failed.delete(id);
    for (const target of wanted) {
      if (this.#dialling.size >= AT_ONCE) return;
      const { workerId, address } = target;
      const failed = this.#failed.get(workerId);
      if (links.has(workerId) || this.#dialling.has(workerId)) continue;
      if (failed?.address === address && clock.monotonic() < failed.until) continue;
      this.#dialling.add(workerId);
      void this.#attempt(target, signal).finally(() => this.#dialling.delete(workerId));
    }
  }

  async #attempt({ workerId, address }: DialTarget, signal: AbortSignal): Promise<void> {
    const { clock, random, logger } = this.#options;
    const limit = new AbortController();
    const timer = clock.schedule(ATTEMPT_MS, () => limit.abort(unreachable(workerId, `no answer within ${ATTEMPT_MS} ms`)));
    try {
      await this.#dial(workerId, address, AbortSignal.any([signal, limit.signal]));
      this.#failed.delete(workerId);
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toCaissonError(thrown);
      const before = this.#failed.get(workerId);
      const times = before?.address === address ? before.times + 1 : 1;
      const rest = Math.min(REST_MS.first * 2 ** (times - 1), REST_MS.longest) * (0.75 + ((random.bytes(1)[0] ?? 0) / 255) * 0.5);
      this.#failed.set(workerId, { address, times, until: clock.monotonic() + rest });
      // Once for each address; after that it is known.
      const level = times === 1 ? "warn" : "debug";
      logger[level]({ worker_id: workerId, address, outcome: error.code, reason: error.message }, "a worker cannot be dialled");
    } finally {
      timer.cancel();
    }
  }

  async #dial(workerId: string, address: string, signal: AbortSignal): Promise<void> {
    const { identities, links, controlPlaneId, trust } = this.#options;
    const url = address.includes("://") ? address : `http://${address}`;
    const known = await trust();
    const tls = trustWorker(workerId, known);
    const ask = async (nonce: string | undefined): Promise<{ readonly answer: Dialled; readonly nonce: string }> => {
      const introduction = await identities.introduce(workerId, nonce);
      const headers = { ...introduction.headers, [LINK_HEADERS.controlPlane]: controlPlaneId };
      const answer = await dialLink({ url, headers, tls, unreachable: "worker_unavailable", signal });
      return { answer, nonce: introduction.nonce };
    };
    const first = await ask(undefined);
    if (first.answer.kind === "switched") first.answer.stream.destroy();
    if (first.answer.kind !== "refused" || first.answer.nonce === undefined)
      throw unreachable(workerId, first.answer.kind === "refused" ? first.answer.error.message : "it opens links to anybody");
    const { answer, nonce } = await ask(first.answer.nonce);
    if (answer.kind === "refused") throw answer.error;
    const { workerId: said, proof, token, certificate } = answer.shown;
    try {
      // One of the owner's says where it is, not who: only the installation's own is bound to what a worker shows.
      const own = certificate !== undefined && isIssuedBy(known.authority, certificate);
      const shown = { workerId: said, proof, token, ...(own ? { certificate } : {}) };
      const identity = await identities.verifyAnswer(workerId, nonce, shown);
      if (links.has(workerId)) throw unreachable(workerId, "it has dialled meanwhile");
      await links.adopt(answer.stream, "dialler", identity, address);
    } catch (error) {
      answer.stream.destroy();
      throw error;
    }
  }
}

function unreachable(workerId: string, why: string): CaissonError {
  return new CaissonError("worker_unavailable", `The worker ${workerId} cannot be dialled: ${why}.`);
}
