// Run as a plain user: boots a box by bubblewrap in the folder given, and prints what it found as one line of JSON.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { isCaissonError, systemClock, systemRandom } from "@caisson/contract";
import { GuestClient } from "@caisson/guest";
import { Link } from "@caisson/link";
import { makeTrialSkeleton } from "../box/trial-skeleton.ts";
import { bubblewrapProvider } from "../bubblewrap/bubblewrap-provider.ts";

const [folder = "", agentPath = ""] = process.argv.slice(2);
const dir = join(folder, "boxes");
const skeleton = join(folder, "skeleton");
mkdirSync(skeleton, { recursive: true });
makeTrialSkeleton(skeleton);
const provider = bubblewrapProvider({ dir, agentPath, clock: systemClock, random: systemRandom, log: () => undefined });

async function life(): Promise<Readonly<Record<string, unknown>>> {
  const report = await provider.probe();
  if (!report.available) return { obstacle: report.reason };
  const rootfs = { kind: "host", skeleton } as const;
  const spec = { sandboxId: "sbplain", epoch: 1, rootfs, resources: {}, env: {}, hostname: "box", network: "none" } as const;
  const refused = await provider.start({ ...spec, resources: { memoryMb: 64 } }).then(
    () => "accepted",
    (error: unknown) => (isCaissonError(error) ? error.code : String(error)),
  );
  const box = await provider.start({ ...spec, resources: { pids: 40 } });
  const link = new Link(await provider.connect(box.handle), { role: "dialler", clock: systemClock });
  const guest = new GuestClient(link);
  const run = async (command: string): Promise<string> => {
    let text = "";
    for await (const output of await guest.exec({ command })) if (output.type === "output") text += new TextDecoder().decode(output.bytes);
    return text;
  };
  const text = await run(
    "id -un; grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/self/status; echo x > /etc/own && cat /etc/own; touch /usr/x 2> /dev/null || echo kept; mkdir -m 0 /tmp/closed",
  );
  const forked = await run("timeout 10 sh -c 'for i in $(seq 60); do sleep 20 > /dev/null 2>&1 & done; echo all' 2> /dev/null");
  link.close();
  await provider.destroy(box.handle);
  return { report, refused, forked, lines: text.trim().split("\n"), left: readdirSync(dir) };
}

process.stdout.write(`${JSON.stringify(await life())}\n`);
