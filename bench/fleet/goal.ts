/** Says whether a figure meets its goal. */
export function goal(what: string, measured: number, bound: "at most" | "at least", limit: number, unit: string): void {
  const met = bound === "at most" ? measured <= limit : measured >= limit;
  console.log(`  ${what}: ${figure(measured)} ${unit}; goal ${bound} ${limit} ${unit}: ${met ? "met" : "MISSED"}`);
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toFixed(2);
}
