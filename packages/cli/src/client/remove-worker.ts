import { CaissonApiError, Sandbox, type Caisson, type SandboxInfo, type Worker } from "@caisson/sdk";
import type { CommonOptions } from "../program/leaf.ts";
import { distance } from "../terminal/moment.ts";
import { printable } from "../terminal/printable.ts";

/** Most sandboxes that are listed. */
const SHOWN = 20;

/** Removes a worker. Of one that has sandboxes it says which, and what to do. */
export async function removeWorker(client: Caisson, id: string, options: CommonOptions & { readonly force?: true }): Promise<Worker> {
  try {
    return await client.workers.remove(id, options.force ? { force: true } : {});
  } catch (error) {
    if (!(error instanceof CaissonApiError) || error.code !== "worker_in_use" || options.json) throw error;
    const held = await sandboxesOf(client, id);
    for (const one of held)
      process.stderr.write(`${printable(`${one.id}  ${one.state}  ${one.image}  ${distance(one.created_at)} old`)}\n`);
    const count = Number(error.detail?.["count"] ?? held.length);
    if (count > held.length) process.stderr.write(`and ${count - held.length} more: caisson ls --worker ${id}\n`);
    throw new CaissonApiError(error.code, error.message, {
      ...(error.detail === undefined ? {} : { detail: error.detail }),
      ...(error.requestId === undefined ? {} : { requestId: error.requestId }),
      remedy: `Let them end: caisson workers drain ${id}. Or end them: caisson rm $(caisson ls -q --worker ${id}). Or both at once: caisson workers rm --force ${id}`,
    });
  }
}

async function sandboxesOf(client: Caisson, workerId: string): Promise<readonly SandboxInfo[]> {
  const found: SandboxInfo[] = [];
  for await (const sandbox of Sandbox.list({ client, workerId, pageSize: SHOWN })) {
    found.push(sandbox.info);
    if (found.length === SHOWN) break;
  }
  return found;
}
