/*
 * pending ──► online ⇄ draining
 *                │ ▲       │
 *                ▼ │       ▼
 *            unreachable ◄─┘        removed (terminal, from any state)
 */

/** States of a worker. */
export const WORKER_STATES = [
  "pending", // added, and has not been heard of yet
  "online",
  "draining", // keeps its sandboxes and takes no new ones
  "unreachable", // silent for longer than `workers.unreachable_after`
  "removed",
] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/** What can happen to a worker. */
export const WORKER_EVENTS = [
  "heard", // a heartbeat came, and neither the worker nor an admin drains it
  "heard_draining", // a heartbeat came, and the worker or an admin drains it
  "silent", // nothing was heard for longer than `workers.unreachable_after`
  "remove_requested",
] as const;
export type WorkerEvent = (typeof WORKER_EVENTS)[number];

/** The state machine of a worker: its next state. Pure; total over states and events; `removed` is final. */
export function workerTransition(state: WorkerState, event: WorkerEvent): WorkerState {
  if (state === "removed") return "removed";
  switch (event) {
    case "heard":
      return "online";
    case "heard_draining":
      return "draining";
    case "silent":
      return state === "pending" ? "pending" : "unreachable";
    case "remove_requested":
      return "removed";
    default:
      return event satisfies never;
  }
}
