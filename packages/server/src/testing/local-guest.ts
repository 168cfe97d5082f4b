import { once } from "node:events";
import { connect } from "node:net";
import { CaissonError } from "@caisson/contract";
import type { Guest } from "@caisson/guest";
import { localFiles } from "./local-files.ts";
import { LocalProcess } from "./local-process.ts";

/** A guest over real processes and a real folder of this machine. */
export interface LocalGuest extends Guest {
  /** Ends every process. */
  stop(): Promise<void>;
}

/** What only a real agent does; suites that need it start one. */
const LACKING = [
  "wait",
  "getXattrs",
  "setXattr",
  "removeXattr",
  "digest",
  "openUpload",
  "writeUpload",
  "upload",
  "uploads",
  "commitUpload",
  "cancelUpload",
  "readTree",
  "writeTree",
  "search",
  "replace",
  "openWatch",
  "readWatch",
  "closeWatch",
  "ports",
] as const satisfies readonly (keyof Guest)[];

function lacking(): Pick<Guest, (typeof LACKING)[number]> {
  const refuse = (name: string) => async (): Promise<never> => {
    throw new CaissonError("unsupported", `The local guest has no ${name}.`);
  };
  return Object.fromEntries(LACKING.map((name) => [name, refuse(name)])) as unknown as Pick<Guest, (typeof LACKING)[number]>;
}

export function localGuest(root: string): LocalGuest {
  const processes = new Map<number, LocalProcess>();
  const start = (spec: Parameters<Guest["spawn"]>[0], keep: "all" | "until-taken"): LocalProcess => {
    const started = new LocalProcess(processes.size + 1, spec, keep, root);
    processes.set(started.id, started);
    return started;
  };
  const find = (id: number): LocalProcess => {
    const found = processes.get(id);
    if (found === undefined) throw new CaissonError("process_not_found", `There is no process ${id}.`);
    return found;
  };
  const stop = async (): Promise<void> => {
    await Promise.all([...processes.values()].map((one) => one.stop()));
  };
  return {
    ...localFiles(root),
    exec: async (spec) => start(spec, "until-taken").attach(),
    spawn: async (spec) => {
      const { id, pid } = start(spec, "all");
      return { id, pid };
    },
    attach: async (id, from) => find(id).attach(from),
    kill: async (id, how = {}) => find(id).signal(how.signal ?? "TERM"),
    writeInput: async (id, input) => {
      let written = 0;
      for await (const bytes of input) {
        await find(id).write(bytes);
        written += bytes.length;
      }
      return written;
    },
    closeInput: async (id) => find(id).closeInput(),
    resize: async () => undefined,
    sessions: async () => [...processes.values()].map((one) => one.session()),
    session: async (id) => find(id).session(),
    dial: async (target) => {
      if (target.network !== "tcp") throw new CaissonError("unsupported", "The local guest dials TCP only.");
      const socket = connect({ host: target.host ?? "127.0.0.1", port: target.port, allowHalfOpen: true });
      await once(socket, "connect").catch((error: unknown) => {
        throw new CaissonError("connection_refused", `Nothing listens at ${target.port}.`, { cause: error });
      });
      return socket;
    },
    stats: async () => ({
      uptimeMs: 1,
      processes: processes.size,
      sessions: processes.size,
      memoryBytes: 1,
      cpuMs: 1,
      cpus: 1,
      diskTotal: 2,
      diskFree: 1,
      rxBytes: 0,
      rxPackets: 0,
      txBytes: 0,
      txPackets: 0,
    }),
    ...lacking(),
    shutdown: stop,
    stop,
  };
}
