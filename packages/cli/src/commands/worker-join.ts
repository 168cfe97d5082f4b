import { CaissonError, isCaissonError, systemClock, workerIdSchema } from "@caisson/contract";
import { IdentityFiles, joinInstallation, type JoinedIdentity } from "@caisson/worker";
import type { Command } from "commander";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { loadConfig } from "../config/load-config.ts";
import { joinToken, type JoinTokenOptions } from "../client/join-token.ts";
import { usageError } from "../program/cli-error.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { printable } from "../terminal/printable.ts";
import { print, printJson } from "../terminal/write-out.ts";
import { openDataDir } from "../serve/open-data-dir.ts";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { identityDir } from "../worker/open-credentials.ts";
import { workerIdOf } from "../worker/worker-id.ts";

interface JoinOptions extends CommonOptions, JoinTokenOptions {
  readonly id?: string;
  readonly start: boolean;
}

/** `caisson worker join URL --token-file FILE`: this machine becomes a worker, and then runs as one. */
export function addWorkerJoinCommand(worker: Command, done: Done, run: (options: CommonOptions) => Promise<void>): void {
  leaf(worker, "join <url>", {
    serverless: true,
    description:
      "make this machine a worker of a control plane, and run it\nThe token comes from `caisson workers add`. A key pair is made here and stays here. When the answer gets lost, the same command again ends well.",
    examples: [
      "caisson worker join https://caisson.example.org --token-file -",
      "caisson worker join https://caisson.example.org --token-file token --no-start && systemctl start caisson-worker",
    ],
  })
    .option("--token-file <file>", "file that holds the token, or - for standard input; at a terminal it is asked for")
    .option("--token <token>", "the token itself, for others on this machine to see among the processes")
    .option("--id <worker>", "the worker's name, where the invitation does not say it (default: worker.id)")
    .option("--no-start", "join only; `caisson worker` runs it later")
    .action(
      action(done, async (url: string, options: JoinOptions) => {
        const identity = await join(url, options);
        const { worker_id: id, token_expires_at: until } = identity.credentials;
        if (options.json) printJson({ worker_id: id, control_plane_url: identity.control_plane_url, token_expires_at: until });
        else print(printable(`Joined ${identity.control_plane_url} as ${id}.`));
        if (options.start && runsHere(resolveWorkerDir(loadConfig({ path: options.config, env: process.env })))) {
          if (!options.json) print("The worker that runs here goes on with that.");
        } else if (options.start) await run(options);
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
  const token = await joinToken(options);
  const dir = identityDir(resolveWorkerDir(config));
  const attempt = (workerId: string | undefined): Promise<JoinedIdentity> =>
    joinInstallation({ dir, url, token, caCertificates, clock: systemClock, ...(workerId === undefined ? {} : { workerId }) });
  try {
    return await attempt(wanted).catch((error: unknown) => {
      // The invitation names no worker: it gets the name of its machine.
      const nameless = isCaissonError(error, "invalid_request") && error.errors?.some(({ path }) => path === "worker_id") === true;
      return nameless && wanted === undefined ? attempt(workerIdOf(config.worker)) : Promise.reject(error);
    });
  } catch (error) {
    throw await withRemedy(error, dir);
  }
}

/** Says what helps against an error of joining. */
async function withRemedy(error: unknown, dir: string): Promise<unknown> {
  if (!isCaissonError(error)) return error;
  const told = (remedy: string, code = error.code): CaissonError =>
    new CaissonError(code, error.message, { cause: error, detail: { ...error.detail, remedy } });
  const reason = error.detail?.["reason"];
  switch (error.code) {
    case "control_unavailable":
      return told("Check the address, and for https worker.ca_file; then type the same command again.", "server_unreachable");
    case "already_exists":
      return told("Choose another name with --id, or ask an admin for an invitation by this one: caisson workers add NAME.");
    case "unauthorized": {
      if (reason === "wrong_worker") return told("Leave --id and worker.id out, or ask an admin for an invitation by the other name.");
      // A damaged file is as good as none here.
      const before = reason === "invitation_used" ? await new IdentityFiles(dir).joined().catch(() => undefined) : undefined;
      if (before !== undefined)
        return told(
          `This machine joined ${before.control_plane_url} as ${before.credentials.worker_id} before: \`caisson worker\` runs it, \`caisson worker identity\` checks it.`,
        );
      return told("Ask an admin of the control plane for a new token: caisson workers add.");
    }
    default:
      return error;
  }
}

/** Whether a worker runs here already: it takes a new identity over by itself. */
function runsHere(dir: string): boolean {
  try {
    openDataDir(dir)[Symbol.dispose]();
    return false;
  } catch (error) {
    if (isCaissonError(error, "already_exists")) return true;
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
