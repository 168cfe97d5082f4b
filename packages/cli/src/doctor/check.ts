/** One thing that a machine has or lacks. */
export interface Check {
  readonly name: string;
  /** `warn`: something is missing that not everybody needs. */
  readonly state: "ok" | "warn" | "fail";
  /** What was found. */
  readonly detail: string;
  /** How to mend it, with the exact command where there is one. */
  readonly remedy?: string;
}

/** A check that found what it looked for. */
export function ok(name: string, detail: string): Check {
  return { name, state: "ok", detail };
}

/** A check that found something missing that not everybody needs. */
export function warn(name: string, detail: string, remedy: string): Check {
  return { name, state: "warn", detail, remedy };
}
