import {
  CaissonError,
  GUEST_ROUTES,
  type CallOptions,
  type Channel,
  type ChannelOpener,
  type GuestMethod,
  type GuestRouteMethod,
  type SandboxRef,
} from "@caisson/contract";
import { failedChannel } from "@caisson/link";

/** The method of a worker that passes each guest method on. */
const ROUTE_OF: ReadonlyMap<string, GuestRouteMethod> = new Map(
  (Object.entries(GUEST_ROUTES) as [GuestRouteMethod, GuestMethod][]).map(([route, method]) => [method, route]),
);

/** The way to the guest agent of one sandbox, by way of its worker: replies, bytes and events are the agent's, untouched. */
export class RemoteGuest implements ChannelOpener {
  readonly #opener: ChannelOpener;
  readonly #ref: SandboxRef;

  constructor(opener: ChannelOpener, ref: SandboxRef) {
    this.#opener = opener;
    this.#ref = ref;
  }

  open(method: string, params: Readonly<Record<string, unknown>>, options?: CallOptions): Channel {
    const route = ROUTE_OF.get(method);
    if (route === undefined)
      return failedChannel(new CaissonError("unsupported", `No worker passes the guest method ${method.slice(0, 64)} on.`));
    const { sandboxId, epoch } = this.#ref;
    return this.#opener.open(route, { sandbox_id: sandboxId, epoch, params }, options);
  }
}
