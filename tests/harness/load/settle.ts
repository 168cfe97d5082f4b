import { setTimeout as sleep } from "node:timers/promises";
import type { ExecResult, Sandbox as SandboxInfo } from "@caisson/contract";
import type { ApiAccess } from "../api-access.ts";
import { attempt } from "./attempt.ts";
import type { Ledger } from "./ledger.ts";

const AGAIN_MS = 50;
const REQUEST_MS = 10_000;
/** Longest time for an answer that is asked for once, in ms: one that does not come is an answer too. */
const ANSWER_MS = 60_000;

/** Waits until every sandbox that was promised is shown as running; how long that took in ms, or what is shown instead. */
export async function untilShownTrue(api: ApiAccess, ledger: Ledger, deadlineMs: number): Promise<number | string> {
  const begun = performance.now();
  for (;;) {
    const shown = await statesOf(api);
    const wrong = shown === undefined ? ["no answer"] : ledger.live.flatMap(({ id }) => wrongState(id, shown.get(id)));
    if (wrong.length === 0) return performance.now() - begun;
    if (performance.now() - begun > deadlineMs) return wrong.slice(0, 8).join(", ");
    await sleep(AGAIN_MS);
  }
}

/** Waits until a command in a sandbox of each worker is answered through this control plane; how long that took in ms, or who is not. */
export async function untilReached(api: ApiAccess, ledger: Ledger, deadlineMs: number): Promise<number | string> {
  const begun = performance.now();
  const left = new Set(ledger.live.map(({ workerId }) => workerId));
  while (left.size > 0) {
    await Promise.all([...left].map(async (workerId) => ((await isReached(api, ledger, workerId)) ? left.delete(workerId) : undefined)));
    if (left.size > 0 && performance.now() - begun > deadlineMs) return [...left].join(", ");
    await sleep(AGAIN_MS);
  }
  return performance.now() - begun;
}

/** Whether one of the sandboxes of a worker answers; where there are none left, there is nothing to reach. */
async function isReached(api: ApiAccess, ledger: Ledger, workerId: string): Promise<boolean> {
  const one = ledger.live.find((promised) => promised.workerId === workerId);
  if (one === undefined) return true;
  const ran = await attempt<ExecResult>(api, "POST", `/sandboxes/${one.id}/exec`, { body: { command: "true" }, timeoutMs: REQUEST_MS });
  return ran.kind === "done";
}

function wrongState(id: string, state: string | undefined): string[] {
  return state === "running" ? [] : [`${id} is ${state ?? "not listed"}`];
}

/** States of all sandboxes that have not ended; undefined without an answer. */
async function statesOf(api: ApiAccess): Promise<Map<string, string> | undefined> {
  const page = await attempt<{ items: SandboxInfo[] }>(api, "GET", "/sandboxes?limit=1000", { timeoutMs: REQUEST_MS });
  return page.kind === "done" ? new Map(page.body.items.map((one) => [one.id, one.state])) : undefined;
}

/** Everything that contradicts the ledger, after a load has ended: sandboxes lost, restarted, doubled or left behind. */
export async function contradictions(api: ApiAccess, ledger: Ledger, owners: () => Map<string, string[]>): Promise<string[]> {
  const found = [...ledger.violations];
  for (const one of ledger.live) {
    const ran = await attempt<ExecResult>(api, "POST", `/sandboxes/${one.id}/exec`, {
      body: { command: "cat /home/user/marker" },
      timeoutMs: ANSWER_MS,
    });
    if (ran.kind !== "done") found.push(`${one.id} does not answer: ${ran.code}`);
    else if (one.marked && ran.body.stdout !== `${one.key}\n`) found.push(`${one.id} has lost its marker: ${JSON.stringify(ran.body)}`);
    const info = await attempt<SandboxInfo>(api, "GET", `/sandboxes/${one.id}`, { timeoutMs: ANSWER_MS });
    const runBy = owners().get(one.id) ?? [];
    const owner = info.kind === "done" ? info.body.worker_id : info.code;
    if (runBy.length !== 1 || runBy[0] !== owner) found.push(`${one.id} is of ${owner}, and is run by ${runBy.join(" and ") || "nobody"}`);
  }
  found.push(...(await untilNothingElse(api, ledger, owners)));
  return found;
}

/** What runs without being shown as live, once clean-up had time. */
async function untilNothingElse(api: ApiAccess, ledger: Ledger, owners: () => Map<string, string[]>): Promise<string[]> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const shown = (await statesOf(api)) ?? new Map<string, string>();
    const orphans = [...owners()].filter(([id]) => !shown.has(id)).map(([id, by]) => `${id} is run by ${by.join(" and ")}, and is no more`);
    const undead = [...ledger.sandboxes.values()]
      .filter((one) => one.state === "destroyed" && shown.has(one.id))
      .map((one) => `${one.id} was destroyed, and is ${shown.get(one.id)}`);
    const left = [...orphans, ...undead];
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(AGAIN_MS * 5);
  }
}
