import { CaissonError, LOCAL_WORKER_ID, type Amounts, type CreateSandbox, type Placement } from "@caisson/contract";
import { amountsOf, type PlacementRecord, type SandboxSpec, type WorkerRecord } from "@caisson/store";
import type { ControlDefaults } from "../control-defaults.ts";
import { boundsOf, freeShare, shortOf, type Overcommit } from "./capacity.ts";
import { fitOnWorker, HOST_IMAGE, unsupported } from "./fit-on-worker.ts";
import { refusalOf, type Refused } from "./refusal.ts";

/** How workers are chosen. */
export interface PlacementSettings {
  readonly strategy: Exclude<Placement["strategy"], "only">;
  /** Whether the worker inside the server comes first. */
  readonly preferLocal: boolean;
  readonly overcommit: Overcommit;
}

/** The configuration's defaults. */
export const DEFAULT_PLACEMENT: PlacementSettings = {
  strategy: "spread",
  preferLocal: false,
  overcommit: { vcpus: 4, memory: 1.5, disk: 1 },
};

/** A worker, and whether it can be used from here now. */
export interface Candidate {
  readonly worker: WorkerRecord;
  /** This control plane has a way to it. */
  readonly linked: boolean;
  /** Its heartbeat is overdue. */
  readonly late: boolean;
}

/** What placement looks at. */
export interface PlacementInput {
  readonly request: CreateSandbox;
  readonly defaults: ControlDefaults;
  readonly settings: PlacementSettings;
  /** All that are not removed, by id. */
  readonly candidates: readonly Candidate[];
  /** Grows by one with every placement: whose turn it is. */
  readonly turn: number;
  /** Workers that are out of the question, and why. */
  readonly excluded?: readonly Refused[];
}

/** Where a sandbox goes and as what. */
export interface Placed {
  readonly workerId: string;
  readonly spec: SandboxSpec;
  readonly previewDomain: string | null;
  /** Most that the worker may have promised with it. */
  readonly bounds: Amounts;
  readonly record: PlacementRecord;
}

interface Fit {
  readonly worker: WorkerRecord;
  readonly spec: SandboxSpec;
  readonly bounds: Amounts;
  /** Share of what is scarcest that stays free. */
  readonly free: number;
  readonly score: number;
}

/** An image that is there already is worth this share of a machine. */
const IMAGE_BONUS = 0.25;
/** Refusals that are kept. */
const MOST_REFUSED = 20;

/** Chooses the worker for a request. Throws what says most when none fits. Pure. */
export function place(input: PlacementInput): Placed {
  const { request, candidates, excluded = [] } = input;
  if (request.network !== undefined && request.network !== "none") {
    throw unsupported("network", "Sandboxes have no network here but loopback.", "Leave `network` out, or say `none`.");
  }
  const refused: Refused[] = [...excluded];
  const fits: Fit[] = [];
  for (const candidate of candidates) {
    if (excluded.some((one) => one.workerId === candidate.worker.id)) continue;
    const fit = fitOf(candidate, input);
    if (fit instanceof CaissonError) refused.push({ workerId: candidate.worker.id, error: fit });
    else fits.push(fit);
  }
  const chosen = choose(fits, input);
  if (chosen === undefined) throw refusalOf(request, refused, candidates.length);
  const { worker, spec, bounds } = chosen.fit;
  const placement: Placement = {
    worker_id: worker.id,
    strategy: fits.length === 1 ? "only" : input.settings.strategy,
    reason: chosen.reason,
    score: fits.length === 1 ? null : Math.round(chosen.fit.score * 1000) / 1000,
    refused: refused
      .slice(0, MOST_REFUSED)
      .map(({ workerId, error }) => ({ worker_id: workerId, code: error.code, reason: error.message })),
  };
  return { workerId: worker.id, spec, previewDomain: worker.previewDomain, bounds, record: { placement, asked: askedOf(request) } };
}

/** What of a request binds the choice of another worker later. */
function askedOf(request: CreateSandbox): PlacementRecord["asked"] {
  const { worker_id, worker_labels, provider, runtime, memory_mb, vcpus, pids, disk_mb } = request;
  const asked = { worker_id, worker_labels, provider, runtime, memory_mb, vcpus, pids, disk_mb };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
}

function fitOf({ worker, linked, late }: Candidate, input: PlacementInput): Fit | CaissonError {
  const { request, settings } = input;
  const wanted = wantedOf(worker, request);
  if (wanted !== undefined) return new CaissonError("worker_unavailable", wanted, { detail: { filtered: true } });
  const absent = absenceOf(worker, linked, late);
  const away = absent === undefined ? undefined : new CaissonError("worker_unavailable", absent, { retryAfter: 5 });
  // What it can do is not known before it was heard.
  if (away !== undefined && worker.providersDigest === null) return away;
  const spec = fitOnWorker(worker, request, input.defaults);
  if (spec instanceof CaissonError) return spec;
  if (away !== undefined) return away;
  const asked = amountsOf(spec.resources);
  const bounds = boundsOf(worker, settings.overcommit);
  const short = shortOf(worker.reserved, asked, bounds);
  if (short !== undefined) return new CaissonError("no_capacity", short, { retryAfter: 5 });
  const free = freeShare(worker.reserved, asked, bounds);
  const here = spec.image === HOST_IMAGE || worker.images.includes(spec.image) ? IMAGE_BONUS : 0;
  return { worker, spec, bounds, free, score: (settings.strategy === "pack" ? 1 - free : free) + here };
}

/** Why a worker is not one of those asked for. */
function wantedOf(worker: WorkerRecord, request: CreateSandbox): string | undefined {
  if (request.worker_id !== undefined && request.worker_id !== worker.id) return `Only ${request.worker_id} was asked for.`;
  if (worker.tenantId !== null && worker.tenantId !== request.tenant_id) return "It is kept for another tenant.";
  for (const [key, value] of Object.entries(request.worker_labels ?? {})) {
    if (!Object.hasOwn(worker.labels, key) || worker.labels[key] !== value) return `It lacks the label ${key}=${value}.`;
  }
  return undefined;
}

/** Why a worker that could do it takes nothing now. */
function absenceOf(worker: WorkerRecord, linked: boolean, late: boolean): string | undefined {
  if (worker.state === "pending") return "It has not been heard of yet.";
  if (worker.state === "unreachable") return "It cannot be reached.";
  if (worker.adminDrain) return "An admin drains it.";
  if (worker.selfDrain || worker.state === "draining") return "It shuts down.";
  if (late) return "Its heartbeat is late.";
  if (!linked) return "It has no link to this control plane.";
  if (worker.providersDigest === null) return "It still finds out what it can do.";
  return undefined;
}

function choose(fits: readonly Fit[], { settings, turn }: PlacementInput): { readonly fit: Fit; readonly reason: string } | undefined {
  const [first, ...others] = fits;
  if (first === undefined) return undefined;
  if (others.length === 0) return { fit: first, reason: "No other worker could take it." };
  const local = fits.find(({ worker }) => worker.id === LOCAL_WORKER_ID);
  if (settings.preferLocal && local !== undefined) return { fit: local, reason: "The worker inside the server comes first." };
  const start = turn % fits.length;
  const inTurn = [...fits.slice(start), ...fits.slice(0, start)];
  if (settings.strategy === "round_robin") return { fit: inTurn[0] ?? first, reason: `It was its turn among ${fits.length} workers.` };
  // Of equals the one whose turn it is: control planes that look at the same moment do not all take the same one.
  const best = inTurn.reduce((a, b) => (compare(b, a, settings.strategy) > 0 ? b : a));
  const word = settings.strategy === "pack" ? "fullest" : "emptiest";
  const image = best.spec.image !== HOST_IMAGE && best.worker.images.includes(best.spec.image) ? "; its image is there" : "";
  return { fit: best, reason: `The ${word} of ${fits.length} workers, with ${Math.round(best.free * 100)} % left${image}.` };
}

/** Positive when `a` is the better one. By score, then by the number of sandboxes. */
function compare(a: Fit, b: Fit, strategy: PlacementSettings["strategy"]): number {
  if (Math.abs(a.score - b.score) > 1e-9) return a.score - b.score;
  const fewer = b.worker.reserved.sandboxes - a.worker.reserved.sandboxes;
  return strategy === "pack" ? -fewer : fewer;
}
