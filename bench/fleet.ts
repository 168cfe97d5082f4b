import { measureCreates } from "./fleet/creates.ts";
import { measureHeartbeats } from "./fleet/heartbeats.ts";
import { Installation } from "./fleet/installation.ts";
import { measureLists } from "./fleet/lists.ts";
import { compareRemoteExec } from "./fleet/remote-exec.ts";

/** What many machines cost: a link in between, a shared database, long lists, many sandboxes on one worker. */
export async function measureFleet(rounds: number): Promise<void> {
  await compareRemoteExec(rounds * 10);
  await measureHeartbeats(rounds * 10);
  await using installation = await Installation.start();
  await measureCreates(installation);
  await measureLists(installation);
}
