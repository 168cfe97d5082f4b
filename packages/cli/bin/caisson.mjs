#!/usr/bin/env node
// The caisson command. Plain JavaScript, so that it can say something on any Node: the command itself needs 24.
import { spawn } from "node:child_process";
import { accessSync, realpathSync } from "node:fs";
import * as modules from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED = 24;
const here = dirname(realpathSync(fileURLToPath(import.meta.url)));

if (Number(process.versions.node.split(".")[0]) < NEEDED) runOnNewerNode();
else await start();

async function start() {
  const root = join(here, "..", "..", "..");
  const source = join(here, "..", "src", "main.ts");
  const cache = join(root, "node_modules", ".cache", "caisson");
  // Compiled code is kept, so that only the first start pays for it.
  if (exists(join(root, "node_modules"))) modules.enableCompileCache(cache);
  if (!exists(source)) return run(await import(pathToFileURL(join(here, "..", "dist", "main.js")).href));
  // Within the repository our packages are run from their sources.
  modules.registerHooks({
    resolve: (specifier, context, next) =>
      next(specifier, specifier.startsWith("@caisson/") ? { ...context, conditions: ["@caisson/source", ...context.conditions] } : context),
  });
  return run(await import(pathToFileURL(source).href));
}

async function run({ main }) {
  process.exitCode = await main(process.argv.slice(2));
}

/** The Node that the project brings along, by the package that holds it or by its link. */
function runOnNewerNode() {
  const candidates = [join(here, "..", "..", "..", "node_modules", ".bin", "node")];
  try {
    const require = modules.createRequire(import.meta.url);
    candidates.push(join(dirname(require.resolve(`node-${process.platform}-${process.arch}/package.json`)), "bin", "node"));
  } catch {
    // not installed beside us: the link in node_modules/.bin may still be there
  }
  const node = candidates.find(exists);
  if (node === undefined) {
    process.stderr.write(
      `caisson: needs Node ${NEEDED} or newer, this is ${process.versions.node}\n  Run npm ci in the project's folder, which brings one along.\n`,
    );
    process.exitCode = 1;
    return;
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    if (signal === null) process.exitCode = code ?? 1;
    else {
      process.removeAllListeners(signal);
      process.kill(process.pid, signal);
    }
  });
}

function exists(path) {
  try {
    accessSync(path);
    return true;
  } catch {
    return false; // the question was whether it is there
  }
}
