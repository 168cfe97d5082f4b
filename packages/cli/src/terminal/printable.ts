/** Text of a sandbox that must not steer this terminal, cut to a width. */
export function printable(text: string, width: number): string {
  return text.replaceAll(/[^\x20-\x7e\u00a0-\uffff]/g, "?").slice(0, width);
}
