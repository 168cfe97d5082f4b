import type { Command } from "commander";
import type { ControlNews } from "@caisson/worker";
import { loadConfig } from "../config/load-config.ts";
import { extendPath } from "../doctor/tools-path.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { stopSignal } from "../program/stop-signal.ts";
import { printable } from "../terminal/printable.ts";
import { providerLine } from "../terminal/provider-line.ts";
import { bold, dim } from "../terminal/style.ts";
import { print, printJson } from "../terminal/write-out.ts";
import type { OpenWorker } from "../worker/open-worker.ts";
import { addWorkerIdentityCommand } from "./worker-identity.ts";
import { addWorkerJoinCommand } from "./worker-join.ts";

/** `caisson worker`: this machine as a worker of a control plane, in the foreground. */
export function addWorkerCommand(program: Command, done: Done): void {
  const command = leaf(program, "worker", {
    serverless: true,
    description: "run sandboxes on this machine for a control plane elsewhere, in the foreground",
    examples: [
      "caisson worker",
      "CAISSON_WORKER__CONTROL_PLANE_URL=https://caisson.example.org CAISSON_AUTH__WORKER_TOKEN_FILE=token caisson worker",
    ],
  }).action(action(done, worker));
  addWorkerJoinCommand(command, done, worker);
  addWorkerIdentityCommand(command, done);
}

async function worker(options: CommonOptions): Promise<void> {
  const config = loadConfig({ path: options.config, env: process.env });
  const stop = stopSignal();
  extendPath();
  const { createLogger } = await import("../serve/create-logger.ts");
  const { openWorker } = await import("../worker/open-worker.ts");
  const told: ControlNews[] = [];
  let tell: (news: ControlNews) => void = (news) => void told.push(news);
  await using opened = await openWorker(config, createLogger(config.logging), (news) => tell(news));
  if (options.json) {
    const { id, url = null, advertised, dataDir } = opened;
    printJson({ worker_id: id, pid: process.pid, data_dir: dataDir, url, advertise_addr: advertised });
  } else announce(opened);
  tell = options.json ? tellJson : tellPeople;
  for (const news of told.splice(0)) tell(news);
  opened.describe().then(
    ({ providers }) => options.json || print(providerLine(providers, config.providers.default)),
    (error: unknown) => process.stderr.write(`caisson: the providers could not be probed: ${String(error)}\n`),
  );
  await stop;
  if (!options.json) print("Draining: no new sandboxes; starts under way are finished.");
  await opened.drain();
  if (!options.json) {
    const { count } = opened;
    print(
      count === 0
        ? "Stopping."
        : `Stopping. ${count} sandbox${count === 1 ? " lives" : "es live"} on; start again to take ${count === 1 ? "it" : "them"} over.`,
    );
  }
}

function announce(opened: OpenWorker): void {
  print(`${bold(`Caisson worker ${opened.id} is up`)} ${dim(`(${Math.round(process.uptime() * 1000)} ms)`)}`);
  print(`  control   ${opened.controlPlaneUrl}`);
  print(`  data      ${opened.dataDir}`);
  if (opened.url !== undefined) print(`  listens   ${opened.url}${opened.advertised === null ? "" : `, dialled at ${opened.advertised}`}`);
}

function tellPeople(news: ControlNews): void {
  const where = printable(news.where);
  if (news.kind === "up") return print(`Connected to ${where}.`);
  const { error, forGood } = news;
  print(printable(`${forGood ? "Refused" : "Not connected"}: ${error.message}`));
  if (forGood)
    print("  Let it join again (caisson worker join URL --token-file -); a token of the configuration must be the same here and there.");
  print(dim("  Sandboxes here live on; it is tried again until it works."));
}

function tellJson(news: ControlNews): void {
  if (news.kind === "up") return printJson({ event: "connected", control_plane: news.where, id: news.id });
  const { error, forGood, where } = news;
  printJson({ event: forGood ? "refused" : "not_connected", control_plane: where, code: error.code, message: error.message });
}
