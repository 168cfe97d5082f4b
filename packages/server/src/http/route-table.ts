/** Which methods each path has, to tell a wrong method (405) from a wrong path (404). */
export class RouteTable {
  readonly #routes: { readonly segments: readonly string[]; readonly methods: Set<string> }[] = [];

  /** Notes a route by its pattern, such as `/sandboxes/:id`. */
  add(pattern: string, methods: readonly string[]): void {
    const segments = pattern.split("/");
    const known = this.#routes.find((route) => route.segments.join("/") === pattern);
    if (known === undefined) this.#routes.push({ segments, methods: new Set(methods) });
    else for (const method of methods) known.methods.add(method);
  }

  /** Methods of a path; empty when there is nothing at it. */
  methodsOf(path: string): readonly string[] {
    const segments = path.split("/");
    const methods = new Set<string>();
    for (const route of this.#routes)
      if (
        route.segments.length === segments.length &&
        route.segments.every((part, i) => part === segments[i] || (part.startsWith(":") && segments[i] !== ""))
      )
        for (const method of route.methods) methods.add(method);
    return [...methods].sort();
  }
}
