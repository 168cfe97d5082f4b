import { transition, type SandboxEvent, type SandboxState, type Transition } from "@caisson/contract";
import type { SandboxRepository, Store } from "@caisson/store";
import type { Plant } from "./world.ts";

/** A store whose sandboxes answer some calls in another way. */
function withSandboxes(store: Store, change: (sandboxes: SandboxRepository) => Partial<SandboxRepository>): Store {
  const changed = change(store.sandboxes);
  const sandboxes = new Proxy(store.sandboxes, {
    get: (target, key) => Reflect.get(key in changed ? changed : target, key) as unknown,
  });
  return new Proxy(store, { get: (target, key) => (key === "sandboxes" ? sandboxes : (Reflect.get(target, key) as unknown)) });
}

/** A lost fence: states are written over whatever is there, whatever was read. */
const lostFence: Plant = {
  store: (store) =>
    withSandboxes(store, (sandboxes) => ({
      apply: async (id, _version, change) => {
        const now = await sandboxes.get(id);
        return now === undefined ? undefined : sandboxes.apply(id, now.version, change);
      },
    })),
};

/** A forgotten deadline: whoever should end a creation that takes too long does not; both the reaper and the wait itself. */
const forgottenDeadline: Plant = {
  store: (store) =>
    withSandboxes(store, (sandboxes) => ({
      due: async (limit) => (await sandboxes.due(limit)).filter((row) => row.state !== "creating" || row.deadlineAt === null),
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
