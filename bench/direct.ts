import { randomBytes } from "node:crypto";
import type { Access, Sandbox } from "@caisson/contract";
import { startDirectFleet, type DirectFleet } from "../tests/harness/direct.ts";
import { drain, LeanClient } from "./lean-client.ts";
import { cpuMs, flow, report, reportFlows, series, timed, type Flow } from "./measure.ts";

const BYTES = 200_000_000;

/**
 * What is done in a sandbox of a worker that is a process of its own: asked of the worker itself, and relayed by the server.
 * The times of both are of the same run, the CPU is that of server and worker together.
 */
export async function compareDirect(rounds: number, calls: number): Promise<void> {
  await using direct = await startDirectFleet({ CAISSON_LOGGING__LEVEL: "warn" });
  const { server } = direct.fleet;
  const { id } = await server.json<Sandbox>("POST", "/sandboxes", {});
  const { url, token } = await server.json<Access>("POST", `/sandboxes/${id}/access`, { ttl: "1h" });
  if (url === null) throw new Error("the worker has no address");
  using straight = new LeanClient({ url }, { authorization: `Bearer ${token}` });
  using relayed = new LeanClient(server);
  await compareExec(id, straight, relayed, calls);
  const command = `[ -s /tmp/bench ] || head -c 20000000 /dev/urandom > /tmp/bench; for i in 1 2 3 4 5 6 7 8 9 10; do cat /tmp/bench; done`;
  const body = { command, stream: true };
  await compareFlows(direct, "Streamed stdout", rounds, straight, relayed, (client) =>
    client.open({ method: "POST", path: `/sandboxes/${id}/exec`, json: body }),
  );
  const path = `/sandboxes/${id}/files?path=/home/user/bench`;
  const content = randomBytes(1_000_000);
  async function* upload(): AsyncGenerator<Uint8Array, void, void> {
    for (let sent = 0; sent < BYTES; sent += content.length) yield content;
  }
  const headers = { "content-type": "application/octet-stream", "content-length": String(BYTES) };
  await drain(await straight.open({ method: "PUT", path, headers, body: upload() }));
  await compareFlows(direct, "Download", rounds, straight, relayed, (client) => client.open({ method: "GET", path }));
}

async function compareExec(id: string, straight: LeanClient, relayed: LeanClient, calls: number): Promise<void> {
  const exec = (client: LeanClient): Promise<unknown> =>
    client.json({ method: "POST", path: `/sandboxes/${id}/exec`, json: { command: "true", args: [] } });
  const [a, b] = [series("Caisson: straight to the worker"), series("Caisson: relayed by the server")];
  for (let call = -10; call < calls; call += 1) {
    await timed(call < 0 ? series("") : a, () => exec(straight));
    await timed(call < 0 ? series("") : b, () => exec(relayed));
  }
  report("exec of `true` on another machine's worker", a, [b]);
}

async function compareFlows(
  { fleet }: DirectFleet,
  title: string,
  rounds: number,
  straight: LeanClient,
  relayed: LeanClient,
  open: (client: LeanClient) => ReturnType<LeanClient["open"]>,
): Promise<void> {
  const [a, b] = [flow("Caisson: relayed by the server"), flow("Caisson: straight to the worker")];
  const cpu = (): number => cpuMs(fleet.server.pid) + cpuMs(fleet.worker.pid);
  const runs: readonly (readonly [Flow, LeanClient])[] = [
    [a, relayed],
    [b, straight],
  ];
  for (let round = -1; round < rounds; round += 1)
    for (const [flowOf, client] of runs) {
      const into = round < 0 ? flow("") : flowOf;
      const before = cpu();
      await timed(into, async () => {
        const bytes = await drain(await open(client));
        if (bytes < BYTES) throw new Error(`${flowOf.name}: ${bytes} of ${BYTES} bytes came`);
      });
      into.cpu.push(cpu() - before);
    }
  reportFlows(`${title}, ${BYTES / 1e6} MB, remote worker`, BYTES, a, [b]);
}
