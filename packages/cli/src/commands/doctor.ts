import { existsSync } from "node:fs";
import { VERSION, type Config } from "@caisson/contract";
import type { Command } from "commander";
import { connect } from "../client/connect.ts";
import { credentialsPath } from "../client/local-server.ts";
import { formatMistake } from "../config/config-mistake.ts";
import { resolveDataDir } from "../config/data-dir.ts";
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
  const { checkWorker, isWorker } = await import("../doctor/worker-checks.ts");
  const worker = config !== undefined && isWorker(config, options.config, process.env) ? await checkWorker(config) : undefined;
  // A machine that is only a worker has no server of its own to miss.
  const only = worker !== undefined && !isServerNamed(config, options);
  const server = config === undefined ? configCheck(mistakes.map(formatMistake)) : only ? undefined : await checkServer(options);
  const works = providers.some((provider) => provider.available);
  if (options.json) {
    printJson({
      version: VERSION,
      works,
      providers,
      machine: checks,
      ...(server === undefined ? {} : { server }),
      ...(worker === undefined ? {} : { worker }),
    });
  } else {
    print(
      `Caisson ${VERSION}, node ${process.versions.node}, ${process.platform}-${process.arch}, ${process.getuid?.() === 0 ? "as root" : "as a plain user"}`,
    );
    if (providers.length > 0) printProviders(providers);
    printChecks("Machine", checks);
    if (worker !== undefined) printChecks("Worker", worker);
    if (server !== undefined) printChecks("Server", [server]);
    if (!works) print("No sandbox can be made here yet: mend what is marked above.");
  }
  return works ? 0 : NOTHING_WORKS;
}

/** Whether a server was started here, or another one is named. */
function isServerNamed(config: Config | undefined, { url }: CommonOptions): boolean {
  if (url !== undefined || Boolean(process.env["CAISSON_URL"])) return true;
  return config !== undefined && existsSync(credentialsPath(resolveDataDir(config)));
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
