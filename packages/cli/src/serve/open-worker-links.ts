import { systemClock, systemRandom } from "@caisson/contract";
import type { WorkerIdentities, WorkerSessions } from "@caisson/control";
import { WorkerDialler, WorkerLinks, type DialTrust } from "@caisson/server";
import type { Store } from "@caisson/store";
import type { Logger } from "pino";

/** What links with workers are opened with. */
export interface OpenWorkerLinks {
  readonly controlPlaneId: string;
  readonly identities: WorkerIdentities;
  readonly sessions: WorkerSessions;
  readonly store: Store;
  readonly trust: DialTrust;
  readonly logger: Logger;
}

/** Links with workers that connect, and with those that are dialled. Close it after the HTTP side. */
export function openWorkerLinks({ store, ...parts }: OpenWorkerLinks): AsyncDisposable & { readonly links: WorkerLinks } {
  const links = new WorkerLinks({ ...parts, clock: systemClock });
  const targets = (): ReturnType<Store["workers"]["addresses"]> => store.workers.addresses();
  const dialler = new WorkerDialler({ ...parts, links, targets, clock: systemClock, random: systemRandom });
  const stop = new AbortController();
  const running = dialler.run(stop.signal);
  return {
    links,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      links.close();
      await running;
    },
  };
}
