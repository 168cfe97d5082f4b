import { formatDuration } from "@caisson/contract";

/** How long ago or ahead a moment is, in its two largest units: `5m12s`. */
export function distance(iso: string, now: number = Date.now()): string {
  const ms = Math.abs(new Date(iso).getTime() - now);
  const whole = ms < 1000 ? 1000 : Math.round(ms / 1000) * 1000;
  return (
    formatDuration(whole)
      .match(/\d+[a-z]+/g)
      ?.slice(0, 2)
      .join("") ?? ""
  );
}
