import {
  CaissonError,
  formatDuration,
  parseDuration,
  type Capabilities,
  type CreateSandbox,
  type ProviderReport,
  type Resources,
  type WorkerDescription,
} from "@caisson/contract";
import type { SandboxSpec } from "@caisson/store";
import type { ControlDefaults } from "./control-defaults.ts";

/** Where a sandbox goes and as what. */
export interface Placement {
  readonly workerId: string;
  readonly spec: SandboxSpec;
  readonly previewDomain: string | null;
}

/** The only image that needs no image support. */
const HOST_IMAGE = "host";

/** The time to live of a request, in ms; `invalid_request` when it is longer than allowed. */
export function ttlOf(ttl: string | undefined, defaults: ControlDefaults): number {
  const ms = ttl === undefined ? Math.min(defaults.ttlMs, defaults.maxTtlMs) : (parseDuration(ttl) ?? Number.NaN);
  checkTtl(ms, defaults);
  return ms;
}

/** Refuses what is no time to live or a longer one than allowed. */
export function checkTtl(ms: number, defaults: ControlDefaults): void {
  if (ms > 0 && ms <= defaults.maxTtlMs) return;
  const message = `must be longer than nothing and at most ${formatDuration(defaults.maxTtlMs)} (defaults.max_ttl)`;
  throw new CaissonError("invalid_request", `ttl ${message}.`, { errors: [{ path: "ttl", message }] });
}

/**
 * Chooses the worker with the fewest sandboxes among those that can do all that the request asks for. Throws what the
 * best of the others lacked. Pure.
 */
export function place(
  request: CreateSandbox,
  defaults: ControlDefaults,
  workers: readonly WorkerDescription[],
  load: ReadonlyMap<string, number>,
): Placement {
  if (request.network !== undefined && request.network !== "none") {
    throw unsupported("network", "Sandboxes have no network here but loopback.", "Leave `network` out, or say `none`.");
  }
  let best: Placement | undefined;
  let refusal: CaissonError | undefined;
  for (const worker of workers) {
    const fit = fitOn(worker, request, defaults);
    if (fit instanceof CaissonError) refusal = nearer(refusal, fit);
    else if (best === undefined || (load.get(worker.workerId) ?? 0) < (load.get(best.workerId) ?? 0)) best = fit;
  }
  if (best !== undefined) return best;
  throw refusal ?? new CaissonError("worker_unavailable", "No worker can be reached.", { retryAfter: 5 });
}

/** The refusal that says most: a missing power of a provider that works, before one that does not work, before none. */
function nearer(a: CaissonError | undefined, b: CaissonError): CaissonError {
  const rank = { unsupported: 2, provider_unavailable: 1 } as Partial<Record<string, number>>;
  return a === undefined || (rank[b.code] ?? 0) > (rank[a.code] ?? 0) ? b : a;
}

function fitOn(worker: WorkerDescription, request: CreateSandbox, defaults: ControlDefaults): Placement | CaissonError {
  const name = request.provider ?? defaults.provider ?? worker.providers.find((report) => report.default === true)?.name;
  if (name === undefined) return new CaissonError("provider_unavailable", "No provider works on this machine.", { retryAfter: 30 });
  const report = worker.providers.find((candidate) => candidate.name === name);
  if (report === undefined) {
    return new CaissonError("provider_not_found", `No provider is named ${JSON.stringify(name)}.`, {
      detail: { provider: name, providers: worker.providers.map((candidate) => candidate.name) },
    });
  }
  if (!report.available) {
    return new CaissonError("provider_unavailable", `The provider ${name} does not work here: ${report.reason ?? "no reason given"}`, {
      detail: { provider: name, reason: report.reason ?? null, remedy: report.remedy ?? null },
    });
  }
  const capabilities = capabilitiesOf(report, request.runtime);
  if (capabilities instanceof CaissonError) return capabilities;
  const image = request.image ?? defaults.image;
  if (image !== HOST_IMAGE && !capabilities.images)
    return lacking(report, "image", "images", `It can run only the image \`${HOST_IMAGE}\`.`);
  const resources = resourcesOf(request, defaults, report, capabilities);
  if (resources instanceof CaissonError) return resources;
  return {
    workerId: worker.workerId,
    previewDomain: worker.previewDomain,
    spec: {
      provider: name,
      ...(request.runtime === undefined ? {} : { runtime: request.runtime }),
      image,
      resources,
      ...(request.user === undefined ? {} : { user: request.user }),
      ...(request.workdir === undefined ? {} : { workdir: request.workdir }),
      network: "none",
    },
  };
}

function capabilitiesOf(report: ProviderReport, runtime: string | undefined): Capabilities | CaissonError {
  if (runtime === undefined) return report.capabilities;
  const found = report.runtimes.find((candidate) => candidate.name === runtime);
  if (found === undefined) {
    const known = report.runtimes.map((candidate) => candidate.name).join(", ") || "none";
    return unsupported("runtime", `The provider ${report.name} has no runtime ${JSON.stringify(runtime)}.`, `It has: ${known}.`);
  }
  if (!found.available) {
    return unsupported("runtime", `The runtime ${runtime} does not work here: ${found.reason ?? "no reason given"}`, found.remedy);
  }
  return found.capabilities ?? report.capabilities;
}

/** The four limits: field of the request, our field, and the power that enforces it. */
const LIMITS = [
  { field: "memory_mb", resource: "memoryMb", capability: "limit_memory" },
  { field: "vcpus", resource: "vcpus", capability: "limit_cpu" },
  { field: "pids", resource: "pids", capability: "limit_pids" },
  { field: "disk_mb", resource: "diskMb", capability: "limit_disk" },
] as const;

/** A default applies only where it is enforced; what was asked for is enforced or refused. */
function resourcesOf(
  request: CreateSandbox,
  defaults: ControlDefaults,
  report: ProviderReport,
  capabilities: Capabilities,
): Resources | CaissonError {
  const resources: { -readonly [K in keyof Resources]: Resources[K] } = {};
  for (const { field, resource, capability } of LIMITS) {
    const asked = request[field];
    if (asked !== undefined && !capabilities[capability]) return lacking(report, field, capability, "It cannot enforce this limit.");
    const value = asked ?? (resource === "diskMb" || !capabilities[capability] ? undefined : defaults[resource]);
    if (value !== undefined) resources[resource] = value;
  }
  return resources;
}

function lacking(
  report: ProviderReport,
  field: string,
  capability: keyof NonNullable<ProviderReport["limits"]>,
  fallback: string,
): CaissonError {
  const reason = report.limits?.[capability] ?? fallback;
  return unsupported(field, `The provider ${report.name} cannot do \`${field}\` here: ${reason}`, report.remedy, {
    provider: report.name,
    reason,
  });
}

function unsupported(field: string, message: string, remedy: string | undefined, detail: Record<string, unknown> = {}): CaissonError {
  return new CaissonError("unsupported", message, {
    detail: {
      field,
      ...detail,
      remedy: remedy ?? `Leave \`${field}\` out, or choose another provider; \`caisson doctor\` tells what works here.`,
    },
    errors: [{ path: field, message }],
  });
}
