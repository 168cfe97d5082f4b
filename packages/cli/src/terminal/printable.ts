/** What steers a terminal or turns text around: control, format and other characters without a form of their own, and line ends. */
const STEERING = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Text that others wrote, as one line that cannot steer this terminal, cut to a width. */
export function printable(text: string, width: number = Infinity): string {
  return text.replaceAll(STEERING, "?").slice(0, width);
}

/** A value as JSON that can be shown: what steers a terminal is escaped, so that it is read back as it was. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replaceAll(STEERING, (found) =>
    // The line ends of the layout are ours: in strings they are escaped already.
    found === "\n" ? found : found.replaceAll(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
}
