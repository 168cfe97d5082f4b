import { askAcceptance, IdentityFiles, inspectFiles, type Acceptance, type IdentityCheck } from "@caisson/worker";
import type { Command } from "commander";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { loadConfig } from "../config/load-config.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { printable } from "../terminal/printable.ts";
import { bold, green, red, yellow } from "../terminal/style.ts";
import { print, printJson } from "../terminal/write-out.ts";
import { identityDir, openWorkerCredentials, type WorkerCredentials } from "../worker/open-credentials.ts";

/** Exit codes: all is well; something does not fit or is refused; the control plane cannot be asked. */
const EXIT = { good: 0, refused: 4, unreachable: 8 } as const;

/** `caisson worker identity`: who this worker is, and whether that is good. */
export function addWorkerIdentityCommand(worker: Command, done: Done): void {
  leaf(worker, "identity", {
    serverless: true,
    description:
      "show and check who this worker is\nAsks the control plane whether it takes it now, and opens no link. Exit code 0 when all is well, 4 when something does not fit or is refused, 8 when the control plane cannot be asked.",
  }).action(action(done, identity));
}

async function identity(options: CommonOptions): Promise<number> {
  const config = loadConfig({ path: options.config, env: process.env });
  const dataDir = resolveWorkerDir(config);
  using held = await openWorkerCredentials({ config, dataDir, log: () => undefined });
  const checks = held.joined === undefined ? [] : await inspectFiles(held.joined, new IdentityFiles(identityDir(dataDir)).joinedPath);
  const acceptance = await askAcceptance(held.source, held.controlPlaneUrl);
  if (options.json) printJson(asJson(held, checks, acceptance));
  else tell(held, checks, acceptance);
  if (acceptance.kind === "refused" || checks.some((check) => !check.ok)) return EXIT.refused;
  return EXIT[acceptance.kind === "accepted" ? "good" : "unreachable"];
}

function asJson(
  { workerId, source, controlPlaneUrl, joined }: WorkerCredentials,
  checks: readonly IdentityCheck[],
  acceptance: Acceptance,
): object {
  return {
    worker_id: workerId,
    kind: source.kind,
    control_plane_url: controlPlaneUrl,
    issuer: joined?.credentials.issuer ?? null,
    scopes: acceptance.kind === "accepted" ? acceptance.worker.scopes : (joined?.credentials.scopes ?? null),
    token_expires_at: joined?.credentials.token_expires_at ?? null,
    certificate_expires_at: joined?.credentials.certificate_expires_at ?? null,
    refresh_expires_at: joined?.credentials.refresh_expires_at ?? null,
    checks,
    accepted: acceptance.kind === "accepted" ? true : acceptance.kind === "refused" ? false : null,
    credential: acceptance.kind === "accepted" ? acceptance.worker.credential : null,
    reason: acceptance.kind === "refused" ? acceptance.reason : null,
    message: acceptance.kind === "accepted" ? null : acceptance.message,
  };
}

function tell(
  { workerId, source, controlPlaneUrl, joined }: WorkerCredentials,
  checks: readonly IdentityCheck[],
  acceptance: Acceptance,
): void {
  const line = (mark: string, name: string, detail: string): void => print(`${mark} ${name.padEnd(14)} ${printable(detail)}`);
  print(bold(printable(workerId)));
  line("·", "kind", source.kind === "registered" ? "registered, with a key of its own" : "a token of the configuration");
  if (joined !== undefined) line("·", "joined at", joined.control_plane_url);
  for (const { name, ok, detail } of checks) line(ok ? green("✓") : red("✗"), name, detail);
  const name = "control plane";
  if (acceptance.kind === "accepted") {
    const { credential, scopes } = acceptance.worker;
    line("·", "scopes", scopes.join(" "));
    return line(green("✓"), name, `${controlPlaneUrl} takes it as ${workerId} (${credential})`);
  }
  if (acceptance.kind === "refused") return line(red("✗"), name, `${controlPlaneUrl} refuses it: ${acceptance.message}`);
  line(yellow("!"), name, acceptance.message);
}
