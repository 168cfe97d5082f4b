import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  SANDBOX_EVENTS,
  SANDBOX_STATES,
  TRANSITIONAL_DEADLINES,
  isRouted,
  isTerminal,
  transition,
  type SandboxEvent,
  type SandboxState,
} from "./sandbox-state.ts";

/** State and commands after an event; `-` for no change; `!` for a refusal with its code. */
type Row = Readonly<Record<SandboxEvent, string>>;

const CONFLICT = "!state_conflict";
const ENDED = "!sandbox_destroyed";

/** What every state does with an event unless the table says otherwise. */
const NOTHING: Row = {
  started: "-",
  start_failed: "-",
  pause_requested: "-",
  pause_done: "-",
  pause_failed: "-",
  resume_requested: "-",
  resume_done: "-",
  resume_failed: "-",
  agent_lost: "-",
  agent_back: "-",
  worker_unreachable: "-",
  found_running: "-",
  found_paused: "-",
  found_gone: "-",
  deadline_passed: "-",
  ttl_passed: "expired destroy",
  destroy_requested: "destroyed destroy",
};
const TERMINAL: Row = { ...NOTHING, pause_requested: ENDED, resume_requested: ENDED, ttl_passed: "-" };

/** The whole machine, state by state. */
const TABLE: Readonly<Record<SandboxState, Row>> = {
  creating: {
    ...NOTHING,
    started: "running",
    found_running: "running",
    start_failed: "error destroy",
    deadline_passed: "error destroy",
    pause_requested: CONFLICT,
    resume_requested: CONFLICT,
  },
  running: {
    ...NOTHING,
    pause_requested: "pausing pause",
    agent_lost: "unhealthy",
    worker_unreachable: "missing",
    found_paused: "paused",
    found_gone: "stopped destroy",
  },
  unhealthy: {
    ...NOTHING,
    pause_requested: CONFLICT,
    resume_requested: CONFLICT,
    agent_back: "running",
    found_running: "running",
    found_paused: "paused",
    worker_unreachable: "missing",
    found_gone: "stopped destroy",
  },
  pausing: {
    ...NOTHING,
    pause_done: "paused",
    pause_failed: "running",
    resume_requested: CONFLICT,
    found_paused: "paused",
    worker_unreachable: "missing",
    found_gone: "stopped destroy",
    deadline_passed: "unhealthy",
  },
  paused: {
    ...NOTHING,
    resume_requested: "resuming resume",
    found_running: "running",
    worker_unreachable: "missing",
    found_gone: "stopped destroy",
  },
  resuming: {
    ...NOTHING,
    pause_requested: CONFLICT,
    resume_done: "running",
    resume_failed: "paused",
    found_running: "running",
    worker_unreachable: "missing",
    found_gone: "stopped destroy",
    deadline_passed: "unhealthy",
  },
  missing: {
    ...NOTHING,
    pause_requested: CONFLICT,
    resume_requested: CONFLICT,
    found_running: "running",
    found_paused: "paused",
    found_gone: "stopped destroy",
  },
  error: TERMINAL,
  stopped: TERMINAL,
  expired: TERMINAL,
  destroyed: { ...TERMINAL, destroy_requested: "-" },
};

function shown(state: SandboxState, event: SandboxEvent): string {
  const result = transition(state, event);
  if (result.kind === "ignore") return "-";
  return result.kind === "refuse" ? `!${result.code}` : [result.state, ...result.commands].join(" ");
}

describe("the states of a sandbox", () => {
  it.each(SANDBOX_STATES)("%s does with every event what the table says", (state) => {
    expect(Object.fromEntries(SANDBOX_EVENTS.map((event) => [event, shown(state, event)]))).toEqual(TABLE[state]);
  });

  it("never leave an end, except to be destroyed, whatever happens", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...SANDBOX_EVENTS), { maxLength: 40 }), (events) => {
        let state: SandboxState = "creating";
        let asked = false;
        for (const event of events) {
          const before = state;
          const result = transition(state, event);
          const commands = result.kind === "next" ? result.commands : [];
          state = result.kind === "next" ? result.state : state;
          asked ||= event === "destroy_requested";
          expect(result.kind === "next").toBe(state !== before);
          expect(commands.includes("destroy")).toBe(state !== before && isTerminal(state));
          expect(!isTerminal(before) || state === before || state === "destroyed").toBe(true);
          expect(state === "destroyed").toBe(asked);
        }
      }),
    );
  });

  it("can always be brought to an end by their deadline or by time, and nothing else is transitional", () => {
    for (const state of SANDBOX_STATES) {
      expect(transition(state, "deadline_passed").kind).toBe(state in TRANSITIONAL_DEADLINES ? "next" : "ignore");
      expect(transition(state, "ttl_passed").kind).toBe(isTerminal(state) ? "ignore" : "next");
      expect(isRouted(state) && isTerminal(state)).toBe(false);
    }
  });
});
