import { parseDuration, type Config } from "@caisson/contract";
import type { Retention } from "@caisson/store";

/** Values of the configuration that the orchestrator uses. */
export interface ControlDefaults {
  readonly image: string;
  /** Time to live of requests that name none, in ms. */
  readonly ttlMs: number;
  /** Longest time to live, in ms. */
  readonly maxTtlMs: number;
  /** Provider of requests that name none; absent: the one a worker prefers. */
  readonly provider?: string;
  /** Limits of requests that name none, where the provider can enforce them. */
  readonly memoryMb?: number;
  readonly vcpus?: number;
  readonly pids?: number;
  /** Most live sandboxes; 0 for no bound. */
  readonly maxSandboxes: number;
}

/** The orchestrator's part of a configuration. */
export function controlDefaults(config: Config): ControlDefaults {
  const { defaults, providers } = config;
  return {
    image: defaults.image,
    ttlMs: duration(defaults.ttl),
    maxTtlMs: duration(defaults.max_ttl),
    ...(providers.default === "auto" ? {} : { provider: providers.default }),
    ...(defaults.memory_mb === undefined ? {} : { memoryMb: defaults.memory_mb }),
    ...(defaults.vcpus === undefined ? {} : { vcpus: defaults.vcpus }),
    pids: defaults.pids,
    maxSandboxes: defaults.max_sandboxes,
  };
}

/** When a configuration has messages to webhooks sent again, in ms after each attempt. */
export function webhookRetriesOf({ webhooks }: Config): readonly number[] {
  return webhooks.retries.map(duration);
}

/** How much history a configuration keeps. */
export function retentionOf({ retention }: Config): Retention {
  return {
    endedMs: duration(retention.sandboxes),
    eventMs: duration(retention.events),
    eventCount: retention.max_events,
    execLogMs: duration(retention.exec_log),
    execLogCount: retention.max_exec_log,
    deliveryMs: duration(retention.webhook_deliveries),
  };
}

/** The schema has checked that it is one. */
function duration(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new TypeError(`not a duration: ${text}`);
  return ms;
}
