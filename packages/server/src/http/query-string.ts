/** The value of a parameter that is not percent-encoded UTF-8; every schema refuses it. */
export const MALFORMED: unique symbol = Symbol("malformed");

/** A parameter's value. */
export type QueryValue = string | typeof MALFORMED;

/** Most parameters of a query that are looked at; one more makes the request fail, as an unknown field does. */
const MAX_PARAMETERS = 64;

/** Reads a query string. A name that comes twice becomes an array, which only fields that may repeat accept. */
export function parseQuery(query: string): Record<string, QueryValue | QueryValue[]> {
  const result: Record<string, QueryValue | QueryValue[]> = {};
  if (query === "") return result;
  for (const part of query.split("&", MAX_PARAMETERS + 1)) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const rawName = equals < 0 ? part : part.slice(0, equals);
    const decoded = decode(rawName);
    const name = decoded === MALFORMED ? rawName : decoded;
    const value = equals < 0 ? "" : decode(part.slice(equals + 1));
    const before = Object.hasOwn(result, name) ? result[name] : undefined;
    const next = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
    // `__proto__` must become a field like any other, to be refused by name.
    Object.defineProperty(result, name, { value: next, enumerable: true, configurable: true, writable: true });
  }
  return result;
}

function decode(text: string): QueryValue {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return MALFORMED; // told by the validator, which knows how to refuse
  }
}
