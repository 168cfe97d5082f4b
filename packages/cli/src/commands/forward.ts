import { CaissonError } from "@caisson/contract";
import type { Command } from "commander";
import { PortForwarder, type Forwarding } from "../client/port-forwarder.ts";
import { parsePort } from "../options/parse-port.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { exitOfInterruption, Interrupt } from "../terminal/interrupt.ts";
import { printable } from "../terminal/printable.ts";
import { print, printJsonLine } from "../terminal/write-out.ts";

interface ForwardOptions extends CommonOptions {
  readonly verbose?: true;
}

/** `caisson forward <id> <ports>`: ports of this machine that lead into a sandbox. */
export function addForwardCommand(program: Command, done: Done): void {
  leaf(program, "forward <sandbox> <ports...>", {
    description: "listen on 127.0.0.1 and carry connections to ports of a sandbox, until Ctrl-C",
    examples: [
      "caisson forward $ID 5432                 # 127.0.0.1:5432 here is 5432 there",
      "caisson forward $ID 15432:5432 0:8080    # LOCAL:REMOTE; 0 is any free port",
    ],
  })
    .option("-v, --verbose", "tell of each connection on standard error")
    .action(action(done, forward));
}

async function forward(id: string, ports: readonly string[], options: ForwardOptions): Promise<number | void> {
  const forwardings = ports.map(parseForwarding);
  using interrupt = new Interrupt();
  try {
    await using forwarder = await PortForwarder.open(id, forwardings, {
      ...options,
      tell: (line) => {
        if (options.verbose) process.stderr.write(`${printable(line)}\n`);
      },
    });
    for (const one of forwarder.listening) {
      if (options.json) printJsonLine(one);
      else print(`127.0.0.1:${one.local} -> ${id}:${one.remote}`);
    }
    const interrupted = new Promise<never>((_resolve, reject) => {
      interrupt.signal.addEventListener("abort", () => reject(interrupt.signal.reason as Error), { once: true });
    });
    await Promise.race([forwarder.failed, interrupted]);
  } catch (error) {
    if (error instanceof CaissonError) throw error;
    return exitOfInterruption(error);
  }
}

/** `LOCAL:REMOTE`, or one number for both. */
function parseForwarding(text: string): Forwarding {
  const colon = text.indexOf(":");
  const remote = parsePort(text.slice(colon + 1));
  if (colon < 0) return { local: remote, remote };
  const local = text.slice(0, colon);
  return { local: local === "0" ? 0 : parsePort(local), remote };
}
