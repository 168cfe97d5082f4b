import { CaissonError, isCaissonError, systemClock, workerIdSchema } from "@caisson/contract";
import { joinInstallation, type JoinedIdentity } from "@caisson/worker";
import type { Command } from "commander";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { loadConfig } from "../config/load-config.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { printable } from "../terminal/printable.ts";
import { print, printJson } from "../terminal/write-out.ts";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { identityDir } from "../worker/open-credentials.ts";

interface JoinOptions extends CommonOptions {
  readonly token: string;
  readonly id?: string;
  readonly start: boolean;
}

/** `caisson worker join URL --token T`: this machine becomes a worker, and then runs as one. */
export function addWorkerJoinCommand(worker: Command, done: Done, run: (options: CommonOptions) => Promise<void>): void {
  leaf(worker, "join <url>", {
    description:
      "make this machine a worker of a control plane, and run it\nThe token comes from `caisson workers add`. A key pair is made here and stays here. When the answer gets lost, the same command again ends well.",
    examples: [
      "caisson worker join https://caisson.example.org --token cwi_…",
      "caisson worker join https://caisson.example.org --token cwi_… --no-start && systemctl start caisson-worker",
    ],
  })
    .requiredOption("--token <token>", "the token of the invitation")
    .option("--id <worker>", "the worker's name, where the invitation does not say it (default: worker.id)")
    .option("--no-start", "join only; `caisson worker` runs it later")
    .action(
      action(done, async (url: string, options: JoinOptions) => {
        const identity = await join(url, options);
        const { worker_id: id, token_expires_at: until } = identity.credentials;
        if (options.json) printJson({ worker_id: id, control_plane_url: identity.control_plane_url, token_expires_at: until });
        else print(printable(`Joined ${identity.control_plane_url} as ${id}.`));
        if (options.start) await run(options);
        else if (!options.json) print("Run it with: caisson worker");
      }),
    );
}

async function join(given: string, options: JoinOptions): Promise<JoinedIdentity> {
  const config = loadConfig({ path: options.config, env: process.env });
  const url = controlPlaneUrl(given);
  const wanted = options.id ?? config.worker.id;
  if (wanted !== undefined && !workerIdSchema.safeParse(wanted).success)
    throw usageError(
      `${wanted.slice(0, 80)} cannot be the name of a worker.`,
      "Take 1 to 63 lower-case letters, digits, dots, dashes or underscores.",
    );
  const caCertificates = trustedCertificates("worker.ca_file", config.worker.ca_file);
  const dir = identityDir(resolveWorkerDir(config));
  const attempt = (workerId: string | undefined): Promise<JoinedIdentity> =>
    joinInstallation({
      dir,
      url,
      token: options.token,
      caCertificates,
      clock: systemClock,
      ...(workerId === undefined ? {} : { workerId }),
    });
  try {
    return await attempt(wanted);
  } catch (error) {
    if (isCaissonError(error, "unauthorized"))
      throw new CaissonError("unauthorized", error.message, {
        cause: error,
        detail: { ...error.detail, remedy: "Ask an admin of the control plane for a new token: caisson workers add." },
      });
    if (isCaissonError(error, "control_unavailable"))
      throw new CaissonError("server_unreachable", error.message, {
        cause: error,
        detail: { remedy: "Check the address, and for https worker.ca_file; then type the same command again." },
      });
    throw error;
  }
}

function controlPlaneUrl(given: string): string {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  const plain = url !== undefined && (url.protocol === "http:" || url.protocol === "https:") && url.username === "" && url.password === "";
  if (!plain || url.pathname !== "/" || url.search !== "" || url.hash !== "")
    throw usageError(
      `${given.slice(0, 200)} is not the address of a control plane.`,
      "Name its scheme, host and port, such as https://caisson.example.org.",
    );
  return url.origin;
}
