import type { Clock, HostSandbox, SandboxRef } from "@caisson/contract";
import type { Provider, ProviderContext } from "@caisson/providers";
import type { KeyedQueue } from "../durable/keyed-queue.ts";
import type { ImageStore } from "../images/image-store.ts";
import type { BoxRecord } from "./box-record.ts";
import type { GuestRoutes } from "./guest-routes.ts";
import type { RecordStore } from "./record-store.ts";

/** How a live box does, as last seen. */
export interface Condition {
  readonly state: "running" | "paused" | "unhealthy";
  readonly reason?: string;
}

/** Times the host waits, in ms. */
export interface HostDeadlines {
  /** For the provider to boot a box. */
  readonly start: number;
  /** For the agent of a new box to answer. */
  readonly hello: number;
  /** For the provider to remove a box. */
  readonly destroy: number;
  /** For a provider to list its boxes: less than control planes wait for an inventory, or one that is silent would hide all the others. */
  readonly list: number;
  /** For any other question to a provider. */
  readonly ask: number;
  /** For the agent to answer a health check. */
  readonly health: number;
}

/** What the pieces of a host share. */
export interface HostParts {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly images: ImageStore;
  readonly records: RecordStore;
  readonly routes: GuestRoutes;
  readonly conditions: Map<string, Condition>;
  /** A box stopped, fell silent, answers again or was found frozen or thawed, and nobody asked for that here. */
  readonly changed: (ref: SandboxRef) => void;
  /** Changes of one sandbox happen one after another. */
  readonly queue: KeyedQueue;
  readonly clock: Clock;
  readonly log: ProviderContext["log"];
  readonly deadlines: HostDeadlines;
}

/** What the host says of a box. */
export function describeBox(record: BoxRecord, condition: Condition | undefined): HostSandbox {
  const state = record.phase === "stopped" ? "stopped" : (condition?.state ?? "running");
  const reason = record.phase === "stopped" ? record.reason : condition?.reason;
  return {
    sandboxId: record.sandbox_id,
    epoch: record.epoch,
    state,
    provider: record.provider,
    runtime: record.runtime,
    image: record.spec?.image ?? "unknown",
    imageDigest: record.image_digest,
    ...(reason === undefined || reason === null ? {} : { reason }),
  };
}
