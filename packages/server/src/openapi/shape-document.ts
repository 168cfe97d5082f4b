/** A JSON value of the document. */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
type JsonMap = { [key: string]: Json };

const REF = "#/components/schemas/";
const SUFFIX = "Input";

/**
 * Tidies the document that the schema library makes: components that nothing uses go, request and answer share a
 * component where they are alike, and the bounds that every JSON integer has are left out.
 */
export function shapeDocument(document: JsonMap): JsonMap {
  const tidy = withoutIntegerBounds(document) as JsonMap;
  const components = tidy["components"] as JsonMap;
  const schemas = components["schemas"] as JsonMap;
  const used = reachable(tidy, schemas);
  const renamed = new Map<string, string>();
  for (const name of used) {
    const base = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : name;
    if (base !== name && (!used.has(base) || alike(schemas[name], schemas[base]))) renamed.set(name, base);
  }
  const kept: JsonMap = {};
  for (const name of [...used].sort()) kept[renamed.get(name) ?? name] ??= schemas[name] ?? {};
  return rename({ ...tidy, components: { ...components, schemas: kept } }, renamed) as JsonMap;
}

function reachable(document: JsonMap, schemas: JsonMap): Set<string> {
  const used = new Set<string>();
  const visit = (value: Json | undefined): void => {
    if (Array.isArray(value)) value.forEach(visit);
    else if (typeof value === "object" && value !== null)
      for (const [key, member] of Object.entries(value)) {
        const name = key === "$ref" && typeof member === "string" && member.startsWith(REF) ? member.slice(REF.length) : undefined;
        if (name === undefined) visit(member);
        else if (!used.has(name)) {
          used.add(name);
          visit(schemas[name]);
        }
      }
  };
  visit(document["paths"]);
  return used;
}

/** Whether two schemas say the same, once what they refer to is named the same. */
function alike(a: Json | undefined, b: Json | undefined): boolean {
  const text = (value: Json | undefined): string => JSON.stringify(value ?? null).replaceAll(`${SUFFIX}"`, '"');
  return text(a) === text(b);
}

function rename(value: Json, names: ReadonlyMap<string, string>): Json {
  if (Array.isArray(value)) return value.map((item) => rename(item, names));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      const name = key === "$ref" && typeof member === "string" ? names.get(member.slice(REF.length)) : undefined;
      return [key, name === undefined ? rename(member, names) : REF + name];
    }),
  );
}

function withoutIntegerBounds(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutIntegerBounds);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, member]) => member !== Number.MAX_SAFE_INTEGER && member !== Number.MIN_SAFE_INTEGER);
  return Object.fromEntries(entries.map(([key, member]) => [key, withoutIntegerBounds(member)]));
}
