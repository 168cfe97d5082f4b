import { CaissonError, type Capabilities, type CreateSandbox, type ProviderReport, type Resources } from "@caisson/contract";
import type { SandboxSpec, WorkerRecord } from "@caisson/store";
import type { ControlDefaults } from "../control-defaults.ts";

/** The only image that needs no image support. */
export const HOST_IMAGE = "host";

/** The spec with which a worker can run what is asked for, by what its providers can do; else the error that says what it lacks. Pure. */
export function fitOnWorker(
  worker: Pick<WorkerRecord, "providers">,
  request: CreateSandbox,
  defaults: ControlDefaults,
): SandboxSpec | CaissonError {
  const name = request.provider ?? defaults.provider ?? worker.providers.find((report) => report.default === true)?.name;
  if (name === undefined) return new CaissonError("provider_unavailable", "No provider works on the worker.", { retryAfter: 30 });
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
    provider: name,
    ...(request.runtime === undefined ? {} : { runtime: request.runtime }),
    image,
    resources,
    ...(request.user === undefined ? {} : { user: request.user }),
    ...(request.workdir === undefined ? {} : { workdir: request.workdir }),
    network: "none",
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

/** The error for what a machine cannot do. */
export function unsupported(
  field: string,
  message: string,
  remedy: string | undefined,
  detail: Record<string, unknown> = {},
): CaissonError {
  return new CaissonError("unsupported", message, {
    detail: {
      field,
      ...detail,
      remedy: remedy ?? `Leave \`${field}\` out, or choose another provider; \`caisson doctor\` tells what works here.`,
    },
    errors: [{ path: field, message }],
  });
}
