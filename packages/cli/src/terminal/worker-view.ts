import type { Amounts, Worker } from "@caisson/sdk";
import { distance } from "./moment.ts";

/** How a worker is, in a word or two. */
export function stateOf({ state, late, draining }: Worker): string {
  if (state === "draining" && draining === "worker") return "draining, shuts down";
  if ((state === "pending" || state === "unreachable") && draining === "admin") return `${state}, drained`;
  return late && state !== "unreachable" && state !== "removed" ? `${state}, late` : state;
}

/** What was promised of what there is: `2/8`, memory and disk in GiB. A capacity of 0 sandboxes is no bound. */
export function loadOf({ reserved, capacity }: Pick<Worker, "reserved" | "capacity">, what: keyof Amounts): string {
  const promised = amount(what, reserved[what]);
  if (capacity[what] === 0) return what === "sandboxes" ? promised : "-";
  return `${promised}/${amount(what, capacity[what])}${UNITS[what]}`;
}

/** Units of amounts as they are shown. */
const UNITS: Readonly<Record<keyof Amounts, string>> = { sandboxes: "", vcpus: "", memory_mb: " GiB", disk_mb: " GiB" };

function amount(what: keyof Amounts, value: number): string {
  const shown = UNITS[what] === "" ? value : value / 1024;
  return String(Math.round(shown * 10) / 10);
}

/** All that is known of a worker, line by line. */
export function describeWorker(worker: Worker): (readonly [name: string, value: string])[] {
  const whole: [string, string | null][] = [
    ["id", worker.id],
    ["state", stateOf(worker)],
    ["heard", worker.last_heartbeat_at === null ? "never" : `${distance(worker.last_heartbeat_at)} ago`],
    ["version", worker.version],
    ["credential", worker.credential],
    ["tenant", worker.tenant_id],
    ["labels", pairs(worker.labels)],
    ...(["sandboxes", "vcpus", "memory_mb", "disk_mb"] as const).map((what): [string, string] => [
      what.replace("_mb", ""),
      `${loadOf(worker, what)} promised${worker.used === null ? "" : `, ${amount(what, worker.used[what])}${UNITS[what]} in use`}`,
    ]),
    ["providers", worker.providers.map(({ name, available }) => (available ? name : `${name} (does not work)`)).join(", ") || null],
    ["previews", worker.preview_domain],
    ["direct", worker.public_url],
    ["direct?", publicUrlTrouble(worker) ?? null],
    ["dialled at", worker.advertise_addr],
    ["control loss", worker.on_control_loss],
    ["added", `${distance(worker.created_at)} ago`],
  ];
  return whole.filter((line): line is [string, string] => line[1] !== null);
}

/** What the owner of a worker should know of its public address; undefined when nothing is known to be wrong. */
export function publicUrlTrouble({ public_url_problem: problem }: Pick<Worker, "public_url_problem">): string | undefined {
  // A server of before says nothing of it.
  if (problem === null || problem === undefined) return undefined;
  return `it does not find itself there: ${problem}; clients may, all the same`;
}

function pairs(labels: Readonly<Record<string, string>>): string | null {
  return (
    Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(" ") || null
  );
}
