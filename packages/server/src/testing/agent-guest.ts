import { mkdtemp, rm } from "node:fs/promises";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@caisson/contract";
import { GuestClient, type Guest } from "@caisson/guest";
import { ReconnectingOpener } from "@caisson/link";
import { agentBinary, AgentProcess } from "@caisson/testkit";
import { MemoryOperations } from "./memory-operations.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const binary = agentBinary();
if (binary === undefined && process.env["REQUIRE_AGENT"] === "1") throw new Error("The agent is not built: run scripts/build-agent.sh");

/** Whether there is an agent to test with. */
export const hasAgent: boolean = binary !== undefined;

/** A test server whose guest is a real agent, run as an ordinary process of this machine. */
export interface AgentServer extends AsyncDisposable {
  readonly server: TestServer;
  readonly guest: Guest;
  /** A folder of this machine that the agent sees under the same path. */
  readonly folder: string;
  /** `/sandboxes/{id}` of a sandbox. */
  readonly sandbox: string;
  /** Process id of the agent. */
  readonly agentPid: number;
  /** Channels to the agent that are open now. */
  openChannels(): Promise<number>;
  /** Breaks the connection to the agent, as a death of the server does; the next call connects again. */
  breakLink(): void;
}

export async function startAgentServer(overrides: Parameters<typeof startTestServer>[0] = {}): Promise<AgentServer> {
  await using opening = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "caisson-files-"));
  opening.defer(() => rm(folder, { recursive: true, force: true }));
  const user = process.getuid?.() === 0 ? "root" : `${process.getuid?.()}`;
  const agent = await AgentProcess.start(binary ?? "", ["--cwd", folder, "--user", user]);
  opening.defer(() => agent.stop());
  const sockets: Socket[] = [];
  const connect = async (): Promise<Socket> => {
    const socket = await agent.connect();
    sockets.push(socket);
    return socket;
  };
  const opener = new ReconnectingOpener({ clock: systemClock, connect });
  opening.defer(() => opener.close());
  const guest = new GuestClient(opener);
  const operations = new MemoryOperations(guest);
  const server = opening.use(await startTestServer({ ...overrides, operations }));
  const sandbox = `/sandboxes/${(await operations.create({})).id}`;
  const opened = opening.move();
  return {
    server: { ...server, operations },
    guest,
    folder,
    sandbox,
    agentPid: agent.child.pid ?? 0,
    openChannels: async () => (await opener.ready()).openChannels,
    breakLink: () => {
      for (const socket of sockets.splice(0)) socket.destroy();
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
