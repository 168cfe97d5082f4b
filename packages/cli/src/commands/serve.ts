import type { ProviderReport } from "@caisson/contract";
import type { Command } from "commander";
import { bold, dim } from "../terminal/style.ts";
import { loadConfig } from "../config/load-config.ts";
import { extendPath } from "../doctor/tools-path.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { stopSignal } from "../program/stop-signal.ts";
import { providerLine } from "../terminal/provider-line.ts";
import { print, printJson } from "../terminal/write-out.ts";
import type { OpenServer } from "../serve/open-server.ts";

interface ServeOptions extends CommonOptions {
  readonly host?: string;
  readonly port?: string;
}

/** `caisson serve`: the server, in the foreground. */
export function addServeCommand(program: Command, done: Done): void {
  leaf(program, "serve", {
    serverless: true,
    description: "run the server in the foreground",
    examples: ["caisson serve", "CAISSON_SERVER__PORT=8080 caisson serve --config caisson.yaml"],
  })
    .option("--host <address>", "address to listen on (server.host)")
    .option("--port <number>", "port to listen on, 0 for any free one (server.port)")
    .action(action(done, serve));
}

async function serve(options: ServeOptions): Promise<void> {
  const env = {
    ...process.env,
    ...(options.host === undefined ? {} : { CAISSON_SERVER__HOST: options.host }),
    ...(options.port === undefined ? {} : { CAISSON_SERVER__PORT: options.port }),
  };
  const config = loadConfig({ path: options.config, env });
  const stop = stopSignal();
  extendPath();
  const { createLogger } = await import("../serve/create-logger.ts");
  const { openServer } = await import("../serve/open-server.ts");
  await using server = await openServer(config, createLogger(config.logging));
  if (options.json) printJson({ url: server.url, pid: process.pid, data_dir: server.dataDir });
  else announce(server);
  server.describe().then(
    (worker) => options.json || announceProviders(worker?.providers, config.providers.default),
    (error: unknown) => process.stderr.write(`caisson: the providers could not be probed: ${String(error)}\n`),
  );
  await stop;
  if (!options.json) {
    const count = await server.countSandboxes().catch(() => 0); // only for the farewell
    print(
      count === 0
        ? "Stopping."
        : `Stopping. ${count} sandbox${count === 1 ? " lives" : "es live"} on; start again to reach ${count === 1 ? "it" : "them"}.`,
    );
  }
}

function announce(server: OpenServer): void {
  const { file, configured } = server.credentials;
  const keys =
    file ?? (configured ? "as configured (auth.api_key, auth.admin_api_key)" : "those of the server that was first on this database");
  print(`${bold("Caisson is up")} at ${bold(server.url)} ${dim(`(${Math.round(process.uptime() * 1000)} ms)`)}`);
  print(`  keys      ${keys}`);
  print(`  data      ${server.dataDir}`);
  print(`  API       ${server.url}/docs`);
}

function announceProviders(providers: readonly ProviderReport[] | undefined, wanted: string): void {
  if (providers === undefined) {
    print("  provider  none here: this server runs no sandboxes itself (server.local_worker), others do for it");
    return print(`To add a machine:           ${bold("npx caisson workers add")}`);
  }
  print(providerLine(providers, wanted));
  if (!providers.some((provider) => provider.default)) return;
  print(`Next, in another terminal:  ${bold("npx caisson run -- python3 -c 'print(6*7)'")}`);
  print(`To add another machine:     ${bold("npx caisson workers add")}`);
}
