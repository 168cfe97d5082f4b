import { transition, type SandboxEvent, type SandboxState, type Transition } from "@caisson/contract";
import { withRepository } from "./changed.ts";
import type { Plant } from "./world.ts";

/** A lost fence: states are written over whatever is there, whatever was read. */
const lostFence: Plant = {
  store: (store) =>
    withRepository(store, "sandboxes", (sandboxes) => ({
      apply: async (id, _version, change) => {
        const now = await sandboxes.get(id);
        return now === undefined ? undefined : sandboxes.apply(id, now.version, change);
      },
    })),
};

/** A forgotten deadline: whoever should end a creation that takes too long does not; both the reaper and the wait itself. */
const forgottenDeadline: Plant = {
  store: (store) =>
    withRepository(store, "deadlines", (deadlines) => ({
      due: async (limit) => (await deadlines.due(limit)).filter((row) => row.state !== "creating" || row.deadlineAt === null),
    })),
  clock: (clock) => ({
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    schedule: (ms, run) => (ms < 60_000 ? clock.schedule(ms, run) : { cancel: () => undefined }),
  }),
};

/** A destroy that does not win: while a sandbox is being created it changes nothing. */
const destroyLoses: Plant = {
  transition: (state: SandboxState, event: SandboxEvent): Transition =>
    state === "creating" && event === "destroy_requested" ? { kind: "ignore" } : transition(state, event),
};

/** Bugs that the simulator must find. */
export const PLANTS: Readonly<Record<string, Plant>> = {
  "a lost fence": lostFence,
  "a forgotten deadline": forgottenDeadline,
  "a destroy that does not win": destroyLoses,
};
