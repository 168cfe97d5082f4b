import { TRANSITIONAL_DEADLINES } from "@caisson/contract";

/** How long things may take in a world of this kind, in ms. */
export const DEADLINES_MS = {
  /** From the last fault to the moment when nothing is unfinished: late answers of what was under way included. */
  rest: 240_000,
  /** From the last fault to the moment when every state that is shown is true, creations apart. */
  shown: 40_000,
  /** The same where a control plane tries first that is not answered. */
  shownAfterAnother: 70_000,
  /** From the late answer that a box runs to the moment when it is found gone. */
  found: 15_000,
  /** A deadline that passed is kept this much later, while a control plane lives and its database answers. */
  late: 45_000,
  /** The longest creation. */
  creation: TRANSITIONAL_DEADLINES.creating + 45_000,
  /** A query and its answer, at the slowest. */
  query: 1_000,
  /** Clocks of one installation may differ by this. */
  clock: 2_500,
} as const;
