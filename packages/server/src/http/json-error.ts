/** Where JSON text stops being JSON. */
export interface JsonMistake {
  /** Offset in UTF-16 units. */
  readonly position: number;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = /[ \t\n\r]*/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
const SCALAR = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/** Finds the first mistake of a text that `JSON.parse` refused; the engine's own message does not always say where. */
export function findJsonMistake(text: string): JsonMistake {
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const takeChar = (char: string): boolean => {
    if (text[at] !== char) return false;
    at += 1;
    return true;
  };
  const takeString = (): boolean => {
    if (!takeChar('"')) return false;
    for (;;) {
      const char = text.charCodeAt(at);
      if (char === QUOTE) return takeChar('"');
      if (char === BACKSLASH ? !take(ESCAPE) : !(char >= 0x20)) return false;
      if (char !== BACKSLASH) at += 1;
    }
  };
  const closers: string[] = [];
  /** Reads the key of a member and its colon. */
  const takeKey = (): boolean => take(SPACE) && takeString() && take(SPACE) && takeChar(":");
  // Each round reads one value, or opens a container whose first value comes next.
  for (;;) {
    take(SPACE);
    if (takeChar("{")) {
      take(SPACE);
      if (!takeChar("}")) {
        closers.push("}");
        if (!takeKey()) break;
        continue;
      }
    } else if (takeChar("[")) {
      take(SPACE);
      if (!takeChar("]")) {
        closers.push("]");
        continue;
      }
    } else if (!takeString() && !take(SCALAR)) break;
    // After a value: close what ends here, then expect another value, or the end of the text.
    for (take(SPACE); closers.length > 0 && takeChar(closers.at(-1) ?? ""); take(SPACE)) closers.pop();
    const closer = closers.at(-1);
    if (closer === undefined || !takeChar(",")) break;
    if (closer === "}" && !takeKey()) break;
  }
  return place(text, at);
}

function place(text: string, position: number): JsonMistake {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf("\n"); at >= 0 && at < position; at = text.indexOf("\n", start)) {
    line += 1;
    start = at + 1;
  }
  return { position, line, column: position - start + 1 };
}
