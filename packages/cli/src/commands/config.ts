import { CaissonError, type Config } from "@caisson/contract";
import type { Command } from "commander";
import { stringify } from "yaml";
import { configError, formatMistake } from "../config/config-mistake.ts";
import { resolveDatabasePath, resolveDataDir } from "../config/data-dir.ts";
import { readConfig } from "../config/load-config.ts";
import { action, leaf, type CommonOptions, type Done } from "../program/leaf.ts";
import { print, printJson } from "../terminal/write-out.ts";

/** `caisson config check|show|path`. */
export function addConfigCommands(program: Command, done: Done): void {
  const config = program.command("config").description("look at the configuration");
  leaf(config, "check", { serverless: true, description: "find every mistake in the configuration" }).action(
    action(done, async (options: CommonOptions) => {
      const { path, mistakes } = readConfig({ path: options.config, env: process.env });
      if (options.json) printJson({ path: path ?? null, ok: mistakes.length === 0, mistakes });
      else if (mistakes.length === 0) print(`The configuration is right (${path ?? "no file: defaults and variables"}).`);
      else for (const mistake of mistakes) print(formatMistake(mistake));
      return mistakes.length === 0 ? 0 : new CaissonError("invalid_request", "").entry.exit;
    }),
  );
  leaf(config, "show", { serverless: true, description: "print the configuration as it is in force, keys hidden" }).action(
    action(done, async (options: CommonOptions) => {
      const { config: found, mistakes } = readConfig({ path: options.config, env: process.env });
      if (found === undefined) throw configError(mistakes);
      const shown = inForce(found);
      if (options.json) printJson(shown);
      else process.stdout.write(stringify(shown));
    }),
  );
  leaf(config, "path", { serverless: true, description: "print which file the configuration comes from" }).action(
    action(done, async (options: CommonOptions) => {
      const path = options.config ?? (process.env.CAISSON_CONFIG || undefined);
      if (options.json) printJson({ path: path ?? null });
      else print(path ?? "no file: defaults and variables (CAISSON_CONFIG names one)");
    }),
  );
}

/** With paths resolved and secrets hidden. */
function inForce(config: Config): unknown {
  const hidden = (key: string | undefined): string => (key === undefined ? "(made at the first start)" : "(set)");
  const auth = {
    admin_fallback_enabled: config.auth.admin_fallback_enabled,
    api_key: hidden(config.auth.api_key),
    admin_api_key: hidden(config.auth.admin_api_key),
  };
  return {
    ...config,
    data_dir: resolveDataDir(config),
    database: {
      ...config.database,
      path: resolveDatabasePath(config),
      ...(config.database.dsn === undefined ? {} : { dsn: hidden(config.database.dsn) }),
    },
    auth,
  };
}
