import { existsSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { WORKER_ID_PATTERN, type Config } from "@caisson/contract";
import { IdentityFiles } from "@caisson/worker";
import { readConfigFile } from "../config/config-file.ts";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { askUrl, whyNoAnswer } from "../worker/ask-url.ts";
import { controlPlaneUrlOf } from "../worker/open-credentials.ts";
import { publicUrlProblem, publicUrlRemedy } from "../worker/public-url.ts";
import { ok, warn, type Check } from "./check.ts";

/** Difference of clocks that is told, in ms: a request takes some of it. */
const CLOCK_MS = 5_000;

/** Whether this machine is a worker of a control plane, or is to be one: it joined, or its file or the environment says something of one. */
export function isWorker(config: Config, path: string | undefined, env: Readonly<Record<string, string | undefined>>): boolean {
  if (existsSync(identityFiles(config).joinedPath)) return true;
  if (Object.keys(env).some((name) => name.startsWith("CAISSON_WORKER__"))) return true;
  const file = path ?? (env["CAISSON_CONFIG"] || undefined);
  const value = file === undefined ? undefined : readConfigFile(file).value;
  return typeof value === "object" && value !== null && "worker" in value;
}

/** What a machine needs to be a worker of a control plane. */
export async function checkWorker(config: Config): Promise<readonly Check[]> {
  // One that is damaged is what `caisson worker identity` tells of.
  const joined = await identityFiles(config)
    .joined()
    .catch(() => undefined);
  const url = controlPlaneUrlOf(config.worker, joined);
  const id = joined?.credentials.worker_id ?? config.worker.id ?? hostname();
  return [
    checkId(config.worker.id, joined?.credentials.worker_id),
    ...(await checkControlPlane(url, config.worker.ca_file)),
    checkDialling(config.worker),
    ...(await checkPublicUrl(id, config.worker)),
  ];
}

function identityFiles(config: Config): IdentityFiles {
  return new IdentityFiles(join(resolveWorkerDir(config), "worker", "identity"));
}

function checkId(configured: string | undefined, joined: string | undefined): Check {
  const name = "worker id";
  if (joined !== undefined && (configured ?? joined) === joined) return ok(name, `${joined}, as it joined`);
  if (joined !== undefined)
    return warn(name, `worker.id is ${configured}, but it joined as ${joined}`, "leave worker.id out, or join again");
  if (configured !== undefined) return ok(name, configured);
  const machine = hostname();
  if (WORKER_ID_PATTERN.test(machine)) return ok(name, `${machine}, the machine's name`);
  return warn(
    name,
    `the machine's name ${JSON.stringify(machine)} cannot be one`,
    "set worker.id: lower-case letters, digits, dots, dashes",
  );
}

async function checkControlPlane(url: string, caFile: string | undefined): Promise<readonly Check[]> {
  const name = `control plane ${url}`;
  let answer: { readonly status: number; readonly date: string | undefined };
  const asked = Date.now();
  try {
    answer = await askUrl(new URL("/live", url), trustedCertificates("worker.ca_file", caFile));
  } catch (error) {
    const remedy = "check worker.control_plane_url, for https worker.ca_file, and that a firewall lets it through";
    return [warn(name, `does not answer: ${whyNoAnswer(error)}`, remedy)];
  }
  const { status, date } = answer;
  if (status !== 200) return [warn(name, `answers with HTTP status ${status}: not Caisson?`, "check worker.control_plane_url")];
  return [ok(name, "answers"), checkClock(date ?? null, asked, Date.now())];
}

/** The control plane's clock, which it tells in whole seconds, against ours. */
function checkClock(date: string | null, asked: number, answered: number): Check {
  const name = "clock";
  const theirs = date === null ? Number.NaN : Date.parse(date);
  if (Number.isNaN(theirs)) return ok(name, "cannot be compared: the answer has no date");
  const off = Math.round((asked + answered) / 2 - theirs - 500);
  if (Math.abs(off) <= CLOCK_MS) return ok(name, "agrees with the control plane's");
  const seconds = Math.round(Math.abs(off) / 1000);
  return warn(
    name,
    `is ${seconds} s ${off > 0 ? "ahead of" : "behind"} the control plane's; sandboxes are safe, but logs will not fit together`,
    "let both machines keep time with chrony or systemd-timesyncd",
  );
}

/** Whether control planes can dial this worker, and need to. */
function checkDialling({ listen_addr: listen, advertise_addr: advertise }: Config["worker"]): Check {
  const name = "being dialled";
  if (listen === undefined) return ok(name, "not needed: it dials out (worker.listen_addr is not set)");
  if (advertise !== undefined) return ok(name, `at ${advertise}`);
  const host = listen.slice(0, listen.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
  if (host === "0.0.0.0" || host === "::")
    return warn(
      name,
      `it listens at ${listen}, and no control plane knows where that is`,
      "set worker.advertise_addr to an address they reach",
    );
  const own = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map((one) => one.address));
  if (/^[\d.]+$|:/.test(host) && !own.includes(host) && !host.startsWith("127."))
    return warn(name, `this machine has no address ${host}`, "set worker.listen_addr to an address of this machine, or to 0.0.0.0");
  return ok(name, `at ${listen}`);
}

/** Whether it is this worker that answers where clients are sent. */
async function checkPublicUrl(workerId: string, { public_url: url, ca_file: caFile }: Config["worker"]): Promise<readonly Check[]> {
  if (url === undefined) return [];
  const name = `public address ${url}`;
  const problem = await publicUrlProblem({ url, workerId, ca: () => trustedCertificates("worker.ca_file", caFile) });
  if (problem === undefined) return [ok(name, "this worker answers")];
  return [
    warn(name, `this worker is not found there from here: ${problem}`, `start the worker if it does not run; ${publicUrlRemedy(url)}`),
  ];
}
