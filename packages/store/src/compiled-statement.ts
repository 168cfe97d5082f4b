import { CompiledQuery, type Compilable, type Kysely } from "kysely";
import type { Tables } from "./tables.ts";

/** Shapes that are kept, so that those which come once (a sandbox with so many labels) do not add up without end. */
const KEPT = 200;

/** Where a value goes. */
class Slot {
  readonly at: number;

  constructor(at: number) {
    this.at = at;
  }
}

interface Compiled {
  readonly sql: string;
  /** Slots, and what is the same each time. */
  readonly parameters: readonly unknown[];
}

const compiled = new Map<string, Compiled>();

/**
 * Runs a statement that is put together and compiled once for each shape, and only filled with values from then on. `build` gets
 * the values, or what stands for them, one for one: it may pass them on as parameters, and must look at none. The shape names
 * everything else that the statement depends on.
 */
export async function executeCompiled<Row, Values extends readonly unknown[]>(
  db: Kysely<Tables>,
  shape: string,
  values: Readonly<Values>,
  build: (...values: Values) => Compilable<Row>,
): Promise<readonly Row[]> {
  let known = compiled.get(shape);
  if (known === undefined) {
    const { sql, parameters } = build(...(values.map((_, at) => new Slot(at)) as unknown as Values)).compile();
    known = { sql, parameters };
    if (compiled.size < KEPT) compiled.set(shape, known);
  }
  const parameters = known.parameters.map((parameter) => (parameter instanceof Slot ? values[parameter.at] : parameter));
  return (await db.executeQuery<Row>(CompiledQuery.raw(known.sql, parameters))).rows;
}
