// `npm start`: from a fresh clone to a running server.
import { join } from "node:path";
import process from "node:process";
import { childEnv, ROOT } from "./lib/project.mjs";
import { makeReady } from "./lib/ready.mjs";
import { main, runAttached } from "./lib/terminal.mjs";

await main(async () => {
  const node = await makeReady();
  const args = [join(ROOT, "packages", "cli", "bin", "caisson.mjs"), "serve", ...process.argv.slice(2)];
  // Becoming the server, where this Node can, leaves one process fewer between it and its signals.
  if (typeof process.execve === "function") process.execve(node, [node, ...args], childEnv());
  return runAttached(node, args, { env: childEnv() });
});
