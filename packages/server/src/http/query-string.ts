import { unescape as unescapeQuery } from "node:querystring";

/** Most parameters of a query that are looked at; one more makes the request fail, as an unknown field does. */
const MAX_PARAMETERS = 64;

/** Reads a query string. A name that comes twice becomes an array, which only fields that may repeat accept. */
export function parseQuery(query: string): Record<string, string | string[]> {
  const result: Record<string, string | string[]> = {};
  if (query === "") return result;
  for (const part of query.split("&", MAX_PARAMETERS + 1)) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = decode(equals < 0 ? part : part.slice(0, equals));
    const value = equals < 0 ? "" : decode(part.slice(equals + 1));
    const before = Object.hasOwn(result, name) ? result[name] : undefined;
    const next = before === undefined ? value : Array.isArray(before) ? [...before, value] : [before, value];
    // `__proto__` must become a field like any other, to be refused by name.
    Object.defineProperty(result, name, { value: next, enumerable: true, configurable: true, writable: true });
  }
  return result;
}

function decode(text: string): string {
  return unescapeQuery(text.replaceAll("+", " "));
}
