import type { Scope } from "@caisson/contract";

/** What a client must be let do for each kind of route; what is not here, a worker does not serve. */
const SCOPES: readonly (readonly [RegExp, Scope])[] = [
  [/^\/sandboxes\/:id\/exec(\/ws)?$/, "worker:exec"],
  [/^\/sandboxes\/:id\/(processes|code)(\/|$)/, "worker:exec"],
  [/^\/sandboxes\/:id\/ports\/:port\/connect$/, "worker:exec"],
  [/^\/sandboxes\/:id\/(files(?!\/sign$)|uploads)(\/|$)/, "worker:files"],
  [/^\/sandboxes\/:id\/logs(\/stream)?$/, "worker:logs"],
  [/^\/sandboxes\/:id\/stats(\/stream)?$/, "worker:status"],
];

/** The scope of a route by its pattern below `/api/v1`; undefined when a worker does not serve it. */
export function scopeOf(pattern: string): Scope | undefined {
  return SCOPES.find(([shape]) => shape.test(pattern))?.[1];
}
