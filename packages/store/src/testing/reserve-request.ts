import type { SandboxChange } from "../change-sandbox.ts";
import type { ReserveSandbox } from "../reserve-sandbox.ts";

/** A sandbox to reserve of which nothing is special but what is given. */
export function reserveRequest(id: string, given: Partial<ReserveSandbox> = {}): ReserveSandbox {
  return {
    id,
    workerId: "local",
    ownerId: null,
    tenantId: null,
    placement: null,
    spec: { provider: "oci", image: "host", resources: {}, network: "none" },
    env: {},
    metadata: {},
    previewDomain: null,
    ttlMs: 60_000,
    deadlineMs: 10_000,
    maxLive: 0,
    ...given,
  };
}

/** A sandbox that was found stopped. */
export const STOPPED: SandboxChange = {
  state: "stopped",
  reason: null,
  deadlineMs: null,
  fence: true,
  event: { type: "sandbox.stopped", data: {} },
};
