import { existsSync } from "node:fs";
import { get as httpGet, type IncomingMessage } from "node:http";
import { get as httpsGet } from "node:https";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import { getCACertificates } from "node:tls";
import { CaissonError, WORKER_ID_PATTERN, type Config } from "@caisson/contract";
import { IdentityFiles } from "@caisson/worker";
import { readConfigFile } from "../config/config-file.ts";
import { resolveWorkerDir } from "../config/data-dir.ts";
import { trustedCertificates } from "../serve/trusted-certificates.ts";
import { controlPlaneUrlOf } from "../worker/open-credentials.ts";
import { ok, warn, type Check } from "./check.ts";

/** Time for the control plane to answer, in ms. */
const ANSWER_MS = 5_000;
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
  return [
    checkId(config.worker.id, joined?.credentials.worker_id),
    ...(await checkControlPlane(url, config.worker.ca_file)),
    checkDialling(config.worker),
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
    answer = await ask(new URL("/live", url), trustedCertificates("worker.ca_file", caFile));
  } catch (error) {
    const remedy = "check worker.control_plane_url, for https worker.ca_file, and that a firewall lets it through";
    return [warn(name, `does not answer: ${reasonOf(error)}`, remedy)];
  }
  const { status, date } = answer;
  if (status !== 200) return [warn(name, `answers with HTTP status ${status}: not Caisson?`, "check worker.control_plane_url")];
  return [ok(name, "answers"), checkClock(date ?? null, asked, Date.now())];
}

/** Asks as a worker does, with the certificates that it trusts. */
function ask(url: URL, ca: readonly string[]): Promise<{ readonly status: number; readonly date: string | undefined }> {
  const signal = AbortSignal.timeout(ANSWER_MS);
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, date: response.headers.date });
    };
    // To name certificates is to replace the ones of the machine, so these are named too.
    const tls = ca.length === 0 ? {} : { ca: [...getCACertificates("default"), ...ca] };
    const request =
      url.protocol === "https:" ? httpsGet(url, { agent: false, signal, ...tls }, take) : httpGet(url, { agent: false, signal }, take);
    request.on("error", (error) => reject(signal.aborted ? (signal.reason as Error) : error));
  });
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

function reasonOf(error: unknown): string {
  if (error instanceof CaissonError) return error.message;
  const { code } = error as { code?: unknown };
  if (typeof code === "string") return code;
  return error instanceof Error && error.name === "TimeoutError" ? `no answer within ${ANSWER_MS / 1000} s` : String(error);
}
