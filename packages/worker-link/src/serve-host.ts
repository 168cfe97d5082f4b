import {
  CaissonError,
  GUEST_METHODS,
  GUEST_ROUTES,
  toCaissonError,
  WORKER_METHODS,
  type GuestRouteMethod,
  type SandboxHost,
  type Scope,
  type StartSandbox,
  type WorkerMethod,
} from "@caisson/contract";
import { relay, type IncomingCall } from "@caisson/link";
import { HOST_METHODS, type HostMethod } from "./host-methods.ts";
import { refFromWire } from "./wire-sandbox.ts";
import { guestCallParamsSchema, readParams, WORKER_PARAMS } from "./worker-params.ts";

/** How a worker answers. */
export interface ServeHostOptions {
  /** What the one who calls may do. */
  readonly scopes: ReadonlySet<Scope>;
  /** Throws when the worker may start nothing now, because its lease has lapsed. Default: it may. */
  readonly admit?: (spec: StartSandbox) => Promise<void>;
}

/** What takes the calls of `worker.*` on a link, for `LinkOptions.onOpen`. Nothing that is called can bring it down. */
export function serveHost(host: SandboxHost, options: ServeHostOptions): (call: IncomingCall) => void {
  const answer = (call: IncomingCall): Promise<void> => {
    const { method } = call;
    if (isGuestRoute(method)) {
      allow(method, GUEST_METHODS[GUEST_ROUTES[method]], options.scopes);
      return passOn(call, method, host);
    }
    if (!isWorkerMethod(method)) throw new CaissonError("unsupported", `A worker has no method ${JSON.stringify(method.slice(0, 64))}.`);
    allow(method, WORKER_METHODS[method], options.scopes);
    const params = readParams<unknown>(method, WORKER_PARAMS[method], call.params);
    // Each method is in both tables with the same parameters.
    return (HOST_METHODS[method] as HostMethod<unknown>)(call, params, { host, admit: options.admit ?? (() => Promise.resolve()) });
  };
  return (call) => {
    try {
      answer(call).catch((error: unknown) => call.fail(toCaissonError(error)));
    } catch (error) {
      call.fail(toCaissonError(error));
    }
  };
}

/** The host checks the lease; the agent checks its own parameters. */
function passOn(call: IncomingCall, method: GuestRouteMethod, host: SandboxHost): Promise<void> {
  const { params, ...ref } = readParams(method, guestCallParamsSchema, call.params);
  const outgoing = host.guest(refFromWire(ref)).open(GUEST_ROUTES[method], params, {
    ...(call.deadlineMs === undefined ? {} : { deadlineMs: call.deadlineMs }),
    ...(call.peerHasEnded ? { noInput: true } : {}),
  });
  return relay(call, outgoing);
}

function allow(method: string, scope: Scope, scopes: ReadonlySet<Scope>): void {
  if (scopes.has(scope)) return;
  throw new CaissonError("forbidden", `${method} needs the scope ${scope}.`, { detail: { scope } });
}

function isGuestRoute(method: string): method is GuestRouteMethod {
  return Object.hasOwn(GUEST_ROUTES, method);
}

function isWorkerMethod(method: string): method is WorkerMethod {
  return Object.hasOwn(WORKER_METHODS, method);
}
