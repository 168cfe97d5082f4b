import { VERSION } from "@caisson/contract";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { formatMistake } from "../config/config-mistake.ts";
import { readConfig } from "../config/load-config.ts";
import type { Check } from "../doctor/check.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** Exit code when no sandbox can be made here. */
const NOTHING_WORKS = 8;

/** `caisson doctor`: what works on this machine, what does not, and how to mend it. Needs no server. */
export function addDoctorCommand(program: Command, done: Done): void {
  leaf(program, "doctor", { description: "tell what works on this machine, what does not, and how to mend it" }).action(
    action(done, doctor),
  );
}

async function doctor(options: CommonOptions): Promise<number> {
  const { extendPath } = await import("../doctor/tools-path.ts");
  const { checkMachine } = await import("../doctor/machine-checks.ts");
  const { probeProviders } = await import("../doctor/probe-providers.ts");
  const { printChecks, printProviders } = await import("../doctor/print-report.ts");
  const { agentIsBuilt } = await import("../serve/agent-path.ts");
  extendPath();
  const { config, mistakes } = readConfig({ path: options.config, env: process.env });
  const checks = await checkMachine();
  const providers = config !== undefined && agentIsBuilt() ? await probeProviders(config.providers) : [];
  const server = config === undefined ? configCheck(mistakes.map(formatMistake)) : await checkServer(options);
  const { checkWorker, isWorkerConfigured } = await import("../doctor/worker-checks.ts");
  const worker = config !== undefined && isWorkerConfigured(options.config, process.env) ? await checkWorker(config) : undefined;
  const works = providers.some((provider) => provider.available);
  if (options.json) {
    printJson({ version: VERSION, works, providers, machine: checks, server, ...(worker === undefined ? {} : { worker }) });
  } else {
    print(
      `Caisson ${VERSION}, node ${process.versions.node}, ${process.platform}-${process.arch}, ${process.getuid?.() === 0 ? "as root" : "as a plain user"}`,
    );
    if (providers.length > 0) printProviders(providers);
    printChecks("Machine", checks);
    if (worker !== undefined) printChecks("Worker", worker);
    printChecks("Server", [server]);
    if (!works) print("No sandbox can be made here yet: mend what is marked above.");
  }
  return works ? 0 : NOTHING_WORKS;
}

function configCheck(mistakes: readonly string[]): Check {
  return { name: "configuration", state: "fail", detail: mistakes.join("; "), remedy: "caisson config check" };
}

async function checkServer(options: CommonOptions): Promise<Check> {
  const client = connect(options);
  try {
    await client.providers.list({ timeoutMs: 5_000 });
    return { name: client.url, state: "ok", detail: "answers" };
  } catch (error) {
    const { message, remedy } = error as { message: string; remedy?: string };
    return { name: client.url, state: "warn", detail: message, ...(remedy === undefined ? {} : { remedy }) };
  }
}
