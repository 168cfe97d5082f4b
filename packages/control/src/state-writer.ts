import {
  CaissonError,
  TRANSITIONAL_DEADLINES,
  transition,
  type EventType,
  type HostSandbox,
  type SandboxCommand,
  type SandboxEvent,
  type SandboxState,
} from "@caisson/contract";
import type { Reason, SandboxChange, SandboxRecord, Store } from "@caisson/store";
import type { Logger } from "./logger.ts";
import { sandboxNotFound } from "./sandbox-errors.ts";

/** Lost races in a row after which a writer gives up; each one means that somebody else made progress. */
const MAX_ATTEMPTS = 64;

/** What tells of a sandbox that it does well. */
const SIGNS_OF_LIFE: readonly SandboxEvent[] = ["agent_back", "found_running", "found_paused"];

/** What came of an event. */
export type Advance =
  | { readonly kind: "moved"; readonly sandbox: SandboxRecord }
  /** The event changes nothing in this state, or is no sign of life because its worker is silent. */
  | { readonly kind: "ignored"; readonly sandbox: SandboxRecord }
  /** Somebody else wrote first; only for events tied to an observed version. */
  | { readonly kind: "lost" };

/** What is known besides the event. */
export interface Facts {
  readonly reason?: Reason;
  readonly box?: HostSandbox;
}

/** What a state writer needs. */
export interface StateWriterOptions {
  readonly store: Store;
  readonly logger: Logger;
  /** Whether the heartbeat of a worker is overdue. */
  readonly isLate: (workerId: string) => Promise<boolean>;
  /** The state machine. Default: the contract's. */
  readonly transition?: typeof transition;
  /** Does the work that a transition asks for, in the background. */
  readonly carryOut: (command: SandboxCommand, sandbox: SandboxRecord) => void;
}

/**
 * The one way in which a state changes: read, decide by the pure transition, write fenced by the version that was read,
 * and hand the commands of the transition to whoever carries them out.
 */
export class StateWriter {
  readonly #store: Store;
  readonly #logger: Logger;
  readonly #isLate: StateWriterOptions["isLate"];
  readonly #transition: typeof transition;
  readonly #carryOut: (command: SandboxCommand, sandbox: SandboxRecord) => void;

  constructor(options: StateWriterOptions) {
    this.#store = options.store;
    this.#logger = options.logger;
    this.#isLate = options.isLate;
    this.#transition = options.transition ?? transition;
    this.#carryOut = options.carryOut;
  }

  /**
   * Applies an event whatever has changed meanwhile; with `workerId` only while the sandbox is with that worker.
   * `sandbox_not_found` when there is no such sandbox.
   */
  async advance(
    id: string,
    event: SandboxEvent,
    facts: Facts & { readonly workerId?: string } = {},
  ): Promise<Exclude<Advance, { kind: "lost" }>> {
    const { workerId } = facts;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      const sandbox = await this.#store.sandboxes.get(id);
      if (sandbox === undefined) throw sandboxNotFound(id);
      if (workerId !== undefined && sandbox.workerId !== workerId) return { kind: "ignored", sandbox };
      const result = await this.observe(sandbox, event, facts);
      if (result.kind !== "lost") return result;
    }
    throw new CaissonError("conflict", `The sandbox ${id} changes too fast.`, { retryAfter: 1 });
  }

  /** Applies an event to the sandbox as it was seen; does nothing when it has changed since. */
  async observe(seen: SandboxRecord, event: SandboxEvent, facts: Facts = {}): Promise<Advance> {
    const decision = this.#transition(seen.state, event);
    if (decision.kind === "ignore") return { kind: "ignored", sandbox: seen };
    if (decision.kind === "refuse") {
      throw new CaissonError(decision.code, `The sandbox ${seen.id} is ${seen.state}.`, { detail: { state: seen.state } });
    }
    if (await this.#isDoubtful(seen, event)) return { kind: "ignored", sandbox: seen };
    const reason = facts.reason ?? reasonOf(decision.state, event);
    const change: SandboxChange = {
      state: decision.state,
      reason,
      deadlineMs: deadlineOf(decision.state),
      fence: decision.commands.includes("destroy"),
      ...(facts.box === undefined ? {} : { box: { runtime: facts.box.runtime, imageDigest: facts.box.imageDigest } }),
      event: { type: eventType(decision.state), data: { from: seen.state, cause: event, reason } },
    };
    const sandbox = await this.#store.sandboxes.apply(seen.id, seen.version, change, seen);
    if (sandbox === undefined) return { kind: "lost" };
    this.#logger.debug({ sandbox_id: seen.id, from: seen.state, to: sandbox.state, cause: event, reason }, "the state changed");
    for (const command of decision.commands) this.#carryOut(command, sandbox);
    return { kind: "moved", sandbox };
  }

  /**
   * Whether a sandbox stays `unhealthy` or `missing` though something was found of it. The monitor makes it so for as long as
   * its worker is silent, and would again: only a heartbeat ends that, whatever else passes.
   */
  async #isDoubtful({ state, workerId }: SandboxRecord, event: SandboxEvent): Promise<boolean> {
    return (state === "unhealthy" || state === "missing") && SIGNS_OF_LIFE.includes(event) && (await this.#isLate(workerId));
  }
}

function deadlineOf(state: SandboxState): number | null {
  const deadlines: Partial<Record<SandboxState, number>> = TRANSITIONAL_DEADLINES;
  return deadlines[state] ?? null;
}

function eventType(state: SandboxState): EventType {
  return state === "creating" ? "sandbox.created" : `sandbox.${state}`;
}

/** What there is to say of a state when nobody said more. */
function reasonOf(state: SandboxState, event: SandboxEvent): Reason | null {
  if (event === "deadline_passed") return { code: "deadline_exceeded", message: "It did not get through this state in time." };
  switch (state) {
    case "unhealthy":
      return { code: "agent_unreachable", message: "Its guest agent does not answer." };
    case "missing":
      return { code: "worker_unavailable", message: "Its worker cannot be reached." };
    case "stopped":
      return { code: "box_gone", message: "Its worker no longer has it." };
    case "expired":
      return { code: "ttl_passed", message: "Its time to live is over." };
    case "error":
      return { code: "provider_failed", message: "It could not be started." };
    case "destroyed":
    case "creating":
    case "running":
    case "pausing":
    case "paused":
    case "resuming":
      return null;
    default:
      return state satisfies never;
  }
}
