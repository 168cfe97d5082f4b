/*
 *                        ┌──────── worker back, box alive ────────┐
 *                        ▼                                        │
 * creating ──► running ──► pausing ──► paused ──► resuming ──► running
 *    │            │ ▲                    │
 *    │            │ └ agent answers ─ unhealthy   (agent silent; still routed)
 *    │            └─────────────────► missing     (worker unreachable; reversible)
 *    ▼            ▼
 *  error       stopped   expired   destroyed      (terminal; a delete turns any other state into destroyed)
 */

/** States of a sandbox. */
export const SANDBOX_STATES = [
  "creating",
  "running",
  "pausing",
  "paused",
  "resuming",
  "unhealthy",
  "missing",
  "error",
  "stopped",
  "expired",
  "destroyed",
] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];

/** States that end by themselves, and the time after which they are forced to, in ms. */
export const TRANSITIONAL_DEADLINES = { creating: 120_000, pausing: 60_000, resuming: 60_000 } as const satisfies Partial<
  Record<SandboxState, number>
>;

/** What can happen to a sandbox. */
export const SANDBOX_EVENTS = [
  "started", // the worker reports that the box runs and its agent answers
  "start_failed", // the worker could not start it
  "pause_requested",
  "pause_done",
  "pause_failed",
  "resume_requested",
  "resume_done",
  "resume_failed",
  "agent_lost", // the agent does not answer
  "agent_back",
  "worker_unreachable",
  "found_running", // reconciliation: the worker has it, running
  "found_paused", // reconciliation: the worker has it, frozen
  "found_gone", // reconciliation: the worker knows nothing of it, or its box has ended
  "deadline_passed", // the deadline of a transitional state
  "ttl_passed",
  "destroy_requested",
] as const;
export type SandboxEvent = (typeof SANDBOX_EVENTS)[number];

/** Work that a transition asks for; done at the edge, reported back as events. */
export type SandboxCommand = "start" | "pause" | "resume" | "destroy";

/** What a transition decides. */
export type Transition =
  | { readonly kind: "next"; readonly state: SandboxState; readonly commands: readonly SandboxCommand[] }
  /** The event changes nothing in this state (late, repeated, or already true). */
  | { readonly kind: "ignore" }
  /** The event is a user's wish that this state does not allow. */
  | { readonly kind: "refuse"; readonly code: "state_conflict" | "sandbox_destroyed" };

const next = (state: SandboxState, ...commands: SandboxCommand[]): Transition => ({ kind: "next", state, commands });
const ignore: Transition = { kind: "ignore" };
const conflict: Transition = { kind: "refuse", code: "state_conflict" };
const ended: Transition = { kind: "refuse", code: "sandbox_destroyed" };

/** Whether a state is final. What is left on a worker is then cleaned up for as long as a lease exists. */
export function isTerminal(state: SandboxState): boolean {
  return state === "error" || state === "stopped" || state === "expired" || state === "destroyed";
}

/** Whether requests are routed to the sandbox in this state. */
export function isRouted(state: SandboxState): boolean {
  return state === "running" || state === "unhealthy";
}

/** The state machine of a sandbox. Pure; total over states and events. */
export function transition(state: SandboxState, event: SandboxEvent): Transition {
  if (event === "destroy_requested") return state === "destroyed" ? ignore : next("destroyed", "destroy");
  if (isTerminal(state)) return event === "pause_requested" || event === "resume_requested" ? ended : ignore;
  if (event === "ttl_passed") return next("expired", "destroy");
  switch (state) {
    case "creating":
      return creating(event);
    case "running":
    case "unhealthy":
      return live(state, event);
    case "pausing":
      return pausing(event);
    case "paused":
      return paused(event);
    case "resuming":
      return resuming(event);
    case "missing":
      return missing(event);
    case "error":
    case "stopped":
    case "expired":
    case "destroyed":
      return ignore;
    default:
      return state satisfies never;
  }
}

function creating(event: SandboxEvent): Transition {
  switch (event) {
    case "started":
    case "found_running":
      return next("running");
    case "start_failed":
    case "deadline_passed":
      return next("error", "destroy");
    case "pause_requested":
    case "resume_requested":
      return conflict;
    default:
      return ignore; // not found yet is no news: the start may be under way; the deadline decides
  }
}

function live(state: "running" | "unhealthy", event: SandboxEvent): Transition {
  switch (event) {
    case "pause_requested":
      return state === "running" ? next("pausing", "pause") : conflict;
    case "resume_requested":
      return state === "running" ? ignore : conflict;
    case "agent_lost":
      return state === "running" ? next("unhealthy") : ignore;
    case "agent_back":
    case "found_running":
      return state === "unhealthy" ? next("running") : ignore;
    case "found_paused":
      return next("paused");
    case "worker_unreachable":
      return next("missing");
    case "found_gone":
      return next("stopped", "destroy");
    default:
      return ignore;
  }
}

function pausing(event: SandboxEvent): Transition {
  switch (event) {
    case "pause_done":
    case "found_paused":
      return next("paused");
    case "pause_failed":
      return next("running");
    case "deadline_passed":
      return next("unhealthy");
    case "worker_unreachable":
      return next("missing");
    case "found_gone":
      return next("stopped", "destroy");
    case "pause_requested":
      return ignore;
    case "resume_requested":
      return conflict;
    default:
      return ignore;
  }
}

function paused(event: SandboxEvent): Transition {
  switch (event) {
    case "resume_requested":
      return next("resuming", "resume");
    case "pause_requested":
      return ignore;
    case "found_running":
      return next("running");
    case "worker_unreachable":
      return next("missing");
    case "found_gone":
      return next("stopped", "destroy");
    default:
      return ignore;
  }
}

function resuming(event: SandboxEvent): Transition {
  switch (event) {
    case "resume_done":
    case "found_running":
      return next("running");
    case "resume_failed":
      return next("paused");
    case "deadline_passed":
      return next("unhealthy");
    case "worker_unreachable":
      return next("missing");
    case "found_gone":
      return next("stopped", "destroy");
    case "resume_requested":
      return ignore;
    case "pause_requested":
      return conflict;
    default:
      return ignore;
  }
}

function missing(event: SandboxEvent): Transition {
  switch (event) {
    case "found_running":
      return next("running");
    case "found_paused":
      return next("paused");
    case "found_gone":
      return next("stopped", "destroy");
    case "pause_requested":
    case "resume_requested":
      return conflict;
    default:
      return ignore;
  }
}
