import type { Store } from "@caisson/store";

/** An object some of whose properties are others. */
export function changed<T extends object>(target: T, change: Partial<T>): T {
  return new Proxy(target, {
    get: (whole, key) => {
      const value = Reflect.get(key in change ? change : whole, key) as unknown;
      return typeof value === "function" ? (value.bind(whole) as unknown) : value;
    },
  });
}

/** A store one of whose repositories answers some calls in another way. */
export function withRepository<Name extends "sandboxes" | "creations" | "leases" | "deadlines" | "workers">(
  store: Store,
  name: Name,
  change: (repository: Store[Name]) => Partial<Store[Name]>,
): Store {
  const repository: Store[Name] = store[name];
  return changed(store, { [name]: changed(repository, change(repository)) });
}
