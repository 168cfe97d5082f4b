import type { Store } from "@caisson/store";
import type { SimProcess } from "./sim-process.ts";
import type { Simulation } from "./simulation.ts";

/** How the database misbehaves. */
export interface StoreFaults {
  /** Odds that a call fails before it did anything. */
  before: number;
  /** Odds that it fails although it was carried out. */
  after: number;
  /** What every call fails with now; undefined while the database is there. */
  down?: () => Error | undefined;
}

/** Called with every outcome, in the same instant as the write. */
export type StoreObserver = (method: string, args: readonly unknown[], result: unknown) => void;

/** What a call would answer, where that is known without asking; undefined where it is not. */
export type Foreseen = (method: string, args: readonly unknown[]) => { readonly answer: unknown } | undefined;

/** A real store of which every call takes time and may fail, be carried out and not answered, or never return. */
export function simStore(
  real: Store,
  process: SimProcess,
  simulation: Simulation,
  faults: StoreFaults,
  observe: StoreObserver,
  foresee?: Foreseen,
): Store {
  const { random } = simulation;
  // Most calls look for work and find none: worlds are played twice as fast when those are not really made. Some are, to compare.
  const asked = async (name: string, args: readonly unknown[], work: () => unknown): Promise<unknown> => {
    const foreseen = foresee?.(name, args);
    if (foreseen === undefined) return work();
    if (!random.chance(0.02)) return foreseen.answer;
    const real = await work();
    if (JSON.stringify(real) !== JSON.stringify(foreseen.answer)) simulation.violate(`${name} answers otherwise than was foreseen`);
    return real;
  };
  const call = (name: string, args: readonly unknown[], work: () => unknown): Promise<unknown> => {
    // Mostly one instant; sometimes a crash fits between the commit and its answer.
    const back = random.chance(0.1) ? random.int(1, 20) : 0;
    return process.call(simulation.delay(2, 40, 0.05), back, async () => {
      const down = faults.down?.();
      if (down !== undefined) throw down;
      if (random.chance(faults.before)) throw new Error(`simulated: ${name} failed`);
      const result = await asked(name, args, work);
      simulation.note(() => `store  ${name}(${JSON.stringify(args).slice(1, -1)})${result === undefined ? " -> nothing" : ""}`);
      observe(name, args, result);
      if (random.chance(faults.after)) throw new Error(`simulated: ${name} was carried out but not answered`);
      return result;
    });
  };
  const wrap = <T extends object>(part: T): T =>
    new Proxy(part, {
      get: (target, key) => {
        const method: unknown = Reflect.get(target, key, target);
        if (typeof method !== "function") return method;
        // Not calls to the database.
        if (key === "onAppend" || key === "singleton") return method.bind(target) as unknown;
        return (...args: unknown[]) => call(String(key), args, () => method.apply(target, args) as unknown);
      },
    });
  const whole = wrap(real);
  // Its repositories, whatever they are.
  const parts = new Map<PropertyKey, object>();
  for (const [key, part] of Object.entries(real)) if (typeof part === "object" && part !== null) parts.set(key, wrap(part as object));
  return new Proxy(whole, { get: (target, key) => parts.get(key) ?? (Reflect.get(target, key) as unknown) });
}
